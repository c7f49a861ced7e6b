"""pylibmc, on libmemcached."""

import pylibmc

from cases import PORT, fails, run_case, same

SERVER = f"127.0.0.1:{PORT}"


def client(**behaviors):
    return pylibmc.Client([SERVER], behaviors=behaviors)


def values_keep_their_type():
    c = client()
    # A bool comes back as a number: that is what it does with memcached, too.
    items = ["text", "", "ü", b"\r\nEND\r\n", bytes(range(256)), 5, 2**70, 2.5, None, {"a": [1, None]}, "x" * 1000000]
    for item in items:
        same(True, c.set("jobs", item))
    for item in items:
        same(item, c.get("jobs"))
    same("nothing", c.get("jobs", "nothing"))
    same(True, c.set("jobs", "y" * 100000, min_compress_len=1000))
    same("y" * 100000, c.get("jobs"))
    same(False, c.set("jobs", "x" * 2000000))
    same(True, c.set("jobs", "x", time=1000))


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
    # Refused while a read is open; the end of the connection gives it back.
    fails(pylibmc.Error, lambda: c.get("jobs"))
    c.disconnect_all()
    same("three", c.get("jobs/t=4000"))


def several_keys():
    c = client()
    same([], c.set_multi({"jobs": "one", "mails": "two"}))
    same({"jobs": "one"}, c.get_multi(["jobs", "mails"]))
    # What was not asked for in these words comes back as bytes.
    same({b"mails": "two"}, c.get_multi(["mails/open"]))
    same(None, c.get("mails/close"))


def behaviors():
    for chosen in [{"tcp_nodelay": True, "no_block": True}, {"_noreply": True}, {"ketama": True, "remove_failed": 1}]:
        c = client(**chosen)
        for n in range(20):
            same(True, c.set("jobs", n))
        for n in range(20):
            same(n, c.get("jobs"))
        same(None, c.get("jobs"))
    pool = pylibmc.ClientPool(client(), 3)
    with pool.reserve() as c:
        same(True, c.set("jobs", "pooled"))
    with pool.reserve() as c:
        same("pooled", c.get("jobs"))


def administration():
    c = client()
    same(True, c.set("jobs", "x"))
    [(_, stats)] = c.get_stats()
    same(b"1", stats["curr_items"])
    same(True, c.delete("jobs"))
    same(None, c.get("jobs"))
    c.set("jobs", "x")
    # It is done, but it expects "OK" and Kestrel says "Flushed all queues.".
    fails(pylibmc.Error, c.flush_all)
    same(None, c.get("jobs"))
    for request in [lambda: c.add("jobs", "x"), lambda: c.incr("jobs"), lambda: c.touch("jobs", 1)]:
        fails(pylibmc.Error, request)
        c.disconnect_all()
        same(None, c.get("jobs"))


run_case(globals())
