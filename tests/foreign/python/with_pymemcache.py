"""pymemcache. It insists that the key of an answer is that of the question: Kestrel's options are not for its get()."""

import time

import pymemcache
from pymemcache import serde
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheClientError

from cases import PORT, fails, run_case, same, without_the_client

ADDRESS = ("127.0.0.1", PORT)


def client(**options):
    return Client(ADDRESS, timeout=20, **options)


def values():
    c = client(default_noreply=False)
    items = [b"text", b"", b"\r\nEND\r\n", bytes(range(256)), b"x" * 1000000]
    for item in items:
        same(True, c.set("jobs", item))
    for item in items:
        same(item, c.get("jobs"))
    same(None, c.get("jobs"))
    same(True, c.set("jobs", b"short-lived", expire=-1))
    same(None, c.get("jobs"))
    same(True, c.set("jobs", b"x", expire=1000))
    same(b"x", c.get("jobs"))
    # From 1,000,000 on it is a unix time.
    same(True, c.set("jobs", b"of 1970", expire=20 * 86400))
    same(None, c.get("jobs"))
    same(True, c.set("jobs", b"for 20 days", expire=int(time.time()) + 20 * 86400))
    same(b"for 20 days", c.get("jobs"))


def its_default_is_no_reply():
    """True is what set() says, whatever becomes of the item."""
    c = client()
    same(True, c.set("jobs", b"one"))
    same(True, c.set("jobs", b"x" * 2000000))
    same(True, c.set("jobs", b"two"))
    same(b"one", c.get("jobs"))
    same(b"two", c.get("jobs"))
    same(None, c.get("jobs"))
    same(True, c.delete("jobs"))
    same(False, c.set("jobs", b"x" * 2000000, noreply=False))
    same(True, c.set("jobs", b"three", noreply=False))
    same(b"three", c.get("jobs"))


def types():
    """The flags say what a value was."""
    c = client(default_noreply=False, serde=serde.pickle_serde)
    items = ["text", "ü", 5, b"bytes", {"a": [1, 2.5, None, True]}]
    for item in items:
        same(True, c.set("jobs", item))
    for item in items:
        same(item, c.get("jobs"))
    if hasattr(serde, "compressed_serde"):
        c = client(default_noreply=False, serde=serde.compressed_serde)
        same(True, c.set("jobs", {"a": "x" * 5000}))
        same({"a": "x" * 5000}, c.get("jobs"))


def options_are_not_for_get():
    """It raises, and ends the connection: an open read returns to its place, but a plain get has taken the item."""
    c = client(default_noreply=False)
    c.set("jobs", b"one")
    fails(KeyError, lambda: c.get("jobs/open"))
    without_the_client(b"get jobs/t=20000", b"VALUE jobs 0 3\r\none\r\nEND\r\n")
    c.set("jobs", b"two")
    fails(KeyError, lambda: c.get("jobs/t=100"))
    same(None, c.get("jobs"))
    # Nothing there is an answer without a key.
    same(None, c.get("jobs/t=1"))


def reliable_reads():
    """By hand, with raw_command (since 4.0): for items that do not hold its end mark, which is also all of the reply of an empty queue."""
    c = client(default_noreply=False)
    other = client()
    read = b"get jobs/t=1000/open"
    same(b"", c.raw_command(b"get jobs/t=1/open", b"END\r\n"))
    c.set("jobs", b"one")
    c.set("jobs", b"two")
    same(b"VALUE jobs 0 3\r\none\r\n", c.raw_command(read, b"END\r\n"))
    same(b"END", c.raw_command(b"get jobs/abort"))
    same(b"VALUE jobs 0 3\r\none\r\n", c.raw_command(read, b"END\r\n"))
    same(b"END", c.raw_command(b"get jobs/close"))
    same(b"VALUE jobs 0 3\r\ntwo\r\n", c.raw_command(read, b"END\r\n"))
    same(None, other.get("jobs"))
    same(b"END", c.raw_command(b"get jobs/close"))
    same(b"", c.raw_command(b"get jobs/t=1/open", b"END\r\n"))
    same(None, c.get("jobs"))


def several_keys():
    c = client(default_noreply=False)
    same([], c.set_many({"jobs": b"one", "mails": b"two"}))
    same({"jobs": b"one"}, c.get_many(["jobs", "mails"]))
    same({}, c.get_many(["jobs", "mails"]))
    same(b"two", c.get("mails"))
    same(True, c.delete_many(["jobs", "mails"]))


def its_other_clients():
    pool = PooledClient(ADDRESS, max_pool_size=4, timeout=20)
    same(True, pool.set("jobs", b"pooled", noreply=False))
    same(b"pooled", pool.get("jobs"))
    for pooling in [False, True]:
        hashed = HashClient([ADDRESS], timeout=20, use_pooling=pooling)
        same(True, hashed.set("jobs", b"hashed", noreply=False))
        same(b"hashed", hashed.get("jobs"))
        same(None, hashed.get("jobs"))
    prefixed = client(default_noreply=False, key_prefix=b"shop:")
    same(True, prefixed.set("jobs", b"x"))
    same(b"x", client().get("shop:jobs"))
    unicode = client(default_noreply=False, allow_unicode_keys=True)
    same(True, unicode.set("Aufträge", b"x"))
    same(b"x", unicode.get("Aufträge"))


def administration():
    c = client(default_noreply=False)
    same(True, c.set("jobs", b"x"))
    same(True, b"." in c.version())
    same(1, c.stats()[b"curr_items"])
    same(1, c.stats()[b"queue_jobs_items"])
    same(True, c.delete("jobs"))
    same(None, c.get("jobs"))
    c.set("jobs", b"x")
    # It is done, but it expects "OK" and Kestrel says "Flushed all queues.".
    same(False, c.flush_all())
    same(None, c.get("jobs"))
    c.quit()
    same(True, c.set("jobs", b"x"))


def what_a_cache_can_do():
    """Refused with a reason; the client begins a new connection by itself."""
    c = client(default_noreply=False)
    for request in [
        lambda: c.add("jobs", b"x"),
        lambda: c.replace("jobs", b"x"),
        lambda: c.append("jobs", b"x"),
        lambda: c.cas("jobs", b"x", b"1"),
        lambda: c.incr("jobs", 1),
    ]:
        same(True, "unknown command" in fails(MemcacheClientError, request))
        same(True, c.set("jobs", b"y"))
        same(b"y", c.get("jobs"))
    # Another command has this name here.
    same(True, "missing lease" in fails(MemcacheClientError, lambda: c.touch("jobs", 1)))
    same(True, "in a queue name" in fails(MemcacheClientError, lambda: c.set("jobs.new", b"x")))
    same(None, c.get("jobs"))


print(pymemcache.__version__, end=" ")
run_case(globals())
