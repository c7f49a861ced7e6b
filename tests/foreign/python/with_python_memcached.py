"""python-memcached (module memcache). It does not compare the key of an answer, so all of Kestrel's options are for its get()."""

import memcache

from cases import PORT, run_case, same


def client():
    return memcache.Client([f"127.0.0.1:{PORT}"], socket_timeout=20)


def values_keep_their_type():
    c = client()
    items = ["text", "", "ü", b"\r\nEND\r\n", bytes(range(256)), 5, 2.5, True, None, {"a": [1, None]}]
    for item in items:
        same(True, c.set("jobs", item))
    for item in items:
        same(item, c.get("jobs"))
    same("nothing", c.get("jobs", "nothing"))
    same(True, c.set("jobs", "y" * 100000, min_compress_len=1000))
    same("y" * 100000, c.get("jobs"))


def reliable_reads():
    c = client()
    for item in ["one", "two", "three"]:
        c.set("jobs", item)
    same("one", c.get("jobs/open"))
    same("two", c.get("jobs/close/open"))
    same(None, c.get("jobs/abort"))
    same("two", c.get("jobs/t=1000/open"))
    same(None, c.get("jobs/close"))
    same("three", c.get("jobs/open"))
    c.disconnect_all()
    same("three", client().get("jobs/t=10000"))


def administration():
    c = client()
    same([], c.set_multi({"jobs": "one", "mails": "two"}))
    [(_, stats)] = c.get_stats()
    same("2", stats["curr_items"])
    same({"jobs": "one"}, c.get_multi(["jobs", "mails"]))
    same(1, c.delete("mails"))
    same(None, c.get("mails"))
    c.set("jobs", "x")
    c.flush_all()
    same(None, c.get("jobs"))


run_case(globals())
