"""Tries every command of kqueue.py against a server, and says what it saw: python3 try_everything.py [ADDRESS]

It uses queues that begin with "example-" and leaves nothing in them.
"""

import sys

import kqueue


def main(address: str) -> None:
    with kqueue.Client(address) as queue, kqueue.Client(address) as other:
        server, *words = queue.capabilities()
        print("talking to", server)
        for word in ("put", "reserve", "bury", "browse", "delay", "priority", "key"):
            assert word in words, word

        jobs = "example-jobs"
        queue.purge(jobs, "all")
        body = bytes(range(256)) + b"\r\nEND\r\n"
        low = queue.put(jobs, b"low", priority="low")
        high = queue.put(jobs, body, priority="high", flags=7)
        late = queue.put(jobs, b"late", delay=0.2, key="example-late")
        assert queue.put(jobs, b"late", delay=0.2, key="example-late") == late
        print("put", low, high, late)

        first, second = queue.reserve([jobs], max=10, lease=60)
        assert (first.id, first.body, first.flags) == (high, body, 7)
        assert (second.id, second.attempts) == (low, 1)
        assert {found.id for found in other.browse(jobs, "open", page=1)} == {low, high}
        queue.touch(first, 120)
        queue.ack(first)
        try:
            queue.ack(first)
            raise AssertionError("an item can be settled once")
        except kqueue.NotHeld:
            pass
        queue.release(second, delay=0.1)
        (again,) = queue.reserve([jobs], wait=10)
        assert again.id in (low, late)
        queue.bury(again, b"not today: 50 %")
        (dead,) = other.browse(jobs, "dead")
        assert (dead.id, dead.reason) == (again.id, b"not today: 50 %"), dead
        print("buried", dead.id, "because of", dead.reason.decode())
        assert other.kick(jobs, f"id={dead.id}") == 1 and other.kick(jobs) == 0

        other.pause(jobs)
        assert queue.reserve([jobs]) == []
        other.resume(jobs)
        rest = set()
        while len(rest) < 2:
            for item in queue.reserve([jobs], max=10, wait=10):
                rest.add(item.id)
                queue.ack(item)
        assert rest == {low, late}, rest

        for number in range(25):
            queue.put(jobs, b"%d" % number)
        assert [int(found.body) for found in queue.browse(jobs, page=7)] == list(range(25))
        assert queue.purge(jobs, "ready") == 25
        try:
            queue.put(jobs, b"x", priority="urgent")
            raise AssertionError("there is no such priority")
        except kqueue.Invalid as error:
            print("refused:", error)
    print("everything works")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:22133")
