"""Uses every call of kqueue.py once, and looks whether it did what it should: python3 example.py [HOST:PORT | unix:/PATH]

It works on queues of its own, named example-..., and removes what it has put. The server has the usual max_item_size.
"""

import socket
import sys
import uuid

from kqueue import ConnectionLost, KQueue, NotHeld, NotStored, Refused


def puts_and_reads(queue: KQueue) -> None:
    first = queue.put("example-jobs", b"a\r\nb\0", flags=7)
    urgent = queue.put("example-jobs", b"urgent", priority="high", ttl=3600)
    assert urgent > first, "ids rise"
    # As after an answer that never came. The key is new: the server remembers those of earlier runs.
    key = uuid.uuid4().hex
    assert queue.put("example-jobs", b"", key=key) == queue.put("example-jobs", b"again", key=key)
    items = queue.reserve(["example-none", "example-jobs"], 10, lease=60)
    assert [item.body for item in items] == [b"urgent", b"a\r\nb\0", b""]
    assert (items[1].id, items[1].flags, items[1].attempts) == (first, 7, 1)
    for item in items:
        queue.touch(item, 60)
        queue.ack(item)
    assert queue.reserve("example-jobs", wait=0.01) == []


def gives_back(queue: KQueue) -> None:
    item_id = queue.put("example-jobs", b"not now")
    (item,) = queue.reserve("example-jobs")
    queue.release(item, delay=0)
    (item,) = queue.reserve("example-jobs")
    assert (item.id, item.attempts) == (item_id, 2)
    queue.touch(item, lease=0.0001)
    (item,) = queue.reserve("example-jobs", wait=10)
    assert (item.id, item.attempts) == (item_id, 3)
    queue.release(item, delay=3600)
    (delayed,) = queue.browse("example-jobs", "delayed")
    assert delayed.id == item_id and 0 < int(delayed.values["due_ms"]) <= 3_600_000
    queue.put("example-jobs", b"tomorrow", delay=86400)
    assert queue.reserve("example-jobs") == []
    assert queue.purge("example-jobs", "delayed") == 2


def dead_letters(queue: KQueue) -> None:
    ids = [queue.put("example-jobs", b"bad %d" % n) for n in range(5)]
    for item in queue.reserve("example-jobs", 5):
        queue.bury(item, "why: 100 % bad\n")
    found = list(queue.browse("example-jobs", "dead", page=2, body=3))
    assert [item.id for item in found] == ids
    assert {item.body for item in found} == {b"bad"} and found[0].values["size"] == b"5"
    assert found[0].values["reason"] == b"why: 100 % bad\n"
    assert queue.kick("example-jobs", id=ids[4]) == 1
    assert queue.kick("example-jobs", id=ids[4]) == 0, "it is no dead letter any more"
    assert queue.kick("example-jobs", 2) == 2
    assert queue.kick("example-jobs") == 2
    assert len(list(queue.browse("example-jobs"))) == 5
    assert queue.purge("example-jobs", "all") == 5


def pauses(queue: KQueue) -> None:
    queue.put("example-jobs", b"wait")
    queue.pause("example-jobs")
    assert queue.reserve("example-jobs") == []
    queue.resume("example-jobs")
    (item,) = queue.reserve("example-jobs")
    queue.ack(item)


def errors(queue: KQueue, address: str) -> None:
    queue.put("example-jobs", b"x")
    with KQueue(address) as other:
        (item,) = other.reserve("example-jobs")
        try:
            queue.ack(item)
            raise AssertionError("another connection holds it")
        except NotHeld:
            pass
    # The other connection has ended: the item is back.
    (item,) = queue.reserve("example-jobs", wait=10)
    queue.ack(item)
    try:
        queue.put("example-jobs", b"x", priority="urgent")
        raise AssertionError("there is no such priority")
    except Refused as error:
        assert "CLIENT_ERROR" in str(error)
    try:
        queue.put("example-jobs", bytes(3 << 20))
        raise AssertionError("it is larger than max_item_size")
    except NotStored:
        pass
    for name in ["two words", "", "line\r\nend"]:
        try:
            queue.put(name, b"x")
            raise AssertionError("no queue can be named so")
        except ValueError:
            pass
    assert queue.capabilities(), "it is in step all the same"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        try:
            KQueue("127.0.0.1:%d" % silent.getsockname()[1], timeout=0.05).capabilities()
            raise AssertionError("nobody answers")
        except ConnectionLost:
            pass
    for nonsense, ask in [
        (b"STORED\r\n", lambda lost: lost.put("q", b"x")),
        (b"OK many\r\n", lambda lost: lost.purge("q", "all")),
        (b"ITEM q 1\r\n", lambda lost: lost.reserve("q")),
        (b"ITEM q 1 0 1 5 -2\r\n", lambda lost: lost.reserve("q")),
        (b"ITEM q 1 0 1 5 1\r\nxyz", lambda lost: lost.reserve("q")),
        (b"FOUND q\r\n", lambda lost: list(lost.browse("q"))),
        (b"HTTP/1.1 400 Bad Request\r\n", lambda lost: lost.capabilities()),
    ]:
        with socket.create_server(("127.0.0.1", 0)) as liar:
            lost = KQueue("127.0.0.1:%d" % liar.getsockname()[1])
            peer, _ = liar.accept()
            peer.sendall(nonsense)
            for what in [ask, KQueue.capabilities]:
                try:
                    what(lost)
                    raise AssertionError(f"that is no answer: {nonsense!r}")
                except ConnectionLost:
                    pass
            peer.close()
    lost = KQueue(address)
    lost.close()
    try:
        lost.put("example-jobs", b"x")
        raise AssertionError("it is closed")
    except ConnectionLost:
        pass


def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:22133"
    with KQueue(address) as queue:
        server, *words = queue.capabilities()
        assert {"put", "reserve", "browse", "delay", "priority", "key"} <= set(words), f"{server} is too old"
        puts_and_reads(queue)
        gives_back(queue)
        dead_letters(queue)
        pauses(queue)
        errors(queue, address)
        assert queue.reserve("example-jobs") == []
    print(f"{server}: ok")


if __name__ == "__main__":
    main()
