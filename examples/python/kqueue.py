"""A client of kqueue-server in one file: the extended commands of docs/protocol.md, and nothing but Python's library.

    with KQueue("127.0.0.1:22133") as queue:
        queue.put("mails", b"hello")
        for item in queue.reserve("mails", wait=5):
            print(item.body)
            queue.ack(item)

One connection, one request at a time; threads need one each. Every call ends: an answer that has not come `timeout` seconds after
the server could have given it is a ConnectionLost. Times are seconds, bodies are bytes, names of queues are str.
"""

import socket
import time
from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Optional, Sequence, Tuple, Union
from urllib.parse import unquote_to_bytes


class KQueueError(Exception):
    """What all errors of this module are."""


class Refused(KQueueError):
    """The server said no: nothing has happened, unless its reason says that the outcome is unknown."""


class NotStored(Refused):
    """A limit refused the item: it is too large, or the queue is full."""


class NotHeld(Refused):
    """The item is not ours any more: its lease ended, or somebody flushed the queue. Stop working on it."""


class ConnectionLost(KQueueError):
    """No connection, no answer in time, or nonsense. What was asked may have happened. Nothing more can be asked."""


@dataclass(frozen=True)
class Item:
    """An item that this connection holds."""

    queue: str
    id: int
    flags: int
    attempts: int  # deliveries, this one included
    age: float  # seconds since it was put
    body: bytes


@dataclass(frozen=True)
class Found:
    """An item that was only looked at. `values` has what the table of `browse` lists, as bytes, `reason` decoded."""

    queue: str
    id: int
    state: str
    body: bytes  # as much of it as was asked for
    values: Dict[str, bytes] = field(default_factory=dict)


def _ms(seconds: float) -> int:
    # More than nothing stays that: a lease of 0 has no end.
    return max(round(seconds * 1000), int(seconds > 0))


class KQueue:
    """A connection to one server. As a context manager it is closed at the end, which gives back what it holds."""

    def __init__(self, address: str = "127.0.0.1:22133", timeout: float = 10.0) -> None:
        """Connects to host:port or unix:/path."""
        self._timeout = timeout
        self._received = b""
        self._is_broken = False
        try:
            if address.startswith("unix:"):
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.settimeout(timeout)
                self._socket.connect(address[len("unix:") :])
            else:
                host, _, port = address.rpartition(":")
                self._socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise ConnectionLost(f"{address}: {error}") from error

    def __enter__(self) -> "KQueue":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection: items that it holds return to their old places."""
        self._is_broken = True
        self._socket.close()

    # Items

    def capabilities(self) -> List[str]:
        """The server's name and version, then the commands and options that it has. A server that answers Refused is an older one."""
        return self._ask("CAPABILITIES", "capabilities")

    def put(
        self,
        queue: str,
        body: bytes,
        *,
        ttl: Optional[int] = None,
        delay: float = 0,
        priority: str = "normal",
        flags: int = 0,
        key: Optional[str] = None,
    ) -> int:
        """Puts an item and returns its id: it is on the disk then, as the queue's `sync_journal` says.

        After a ConnectionLost it may be stored or not: with a `key` the put can be repeated on a new connection, and is stored once.
        """
        options = [f"ttl={ttl}"] if ttl is not None else []
        options += [f"delay={_ms(delay)}"] if delay else []
        options += [f"priority={priority}"] if priority != "normal" else []
        options += [f"flags={flags}"] if flags else []
        options += [f"key={key}"] if key is not None else []
        return self._ask_number("STORED", "put", queue, len(body), *options, body=body)

    def reserve(
        self, queues: Union[str, Sequence[str]], count: int = 1, *, wait: float = 0, lease: float = 0
    ) -> List[Item]:
        """Takes up to `count` items, from the first of the queues that has any; none if none came for `wait` seconds.

        They are ours until they are acked, released or buried, the connection ends, or `lease` seconds are over (0: never).
        """
        names = [queues] if isinstance(queues, str) else queues
        items = []
        for words, body in self._listing("ITEM", "reserve", count, _ms(wait), _ms(lease), *names, wait=wait):
            queue, item_id, flags, attempts, age_ms, _ = words
            items.append(Item(queue, int(item_id), int(flags), int(attempts), int(age_ms) / 1000, body))
        return items

    def ack(self, item: Item) -> None:
        """It is done: the item is removed."""
        self._ask("OK", "ack", item.queue, item.id)

    def release(self, item: Item, delay: Optional[float] = None) -> None:
        """Gives an item back: for at once with 0, or after `delay` seconds, or as the queue's `retry_delay` says."""
        options = [] if delay is None else [f"delay={_ms(delay)}"]
        self._ask("OK", "release", item.queue, item.id, *options)

    def touch(self, item: Item, lease: float) -> None:
        """Its lease ends `lease` seconds from now (0: with the connection)."""
        self._ask("OK", "touch", item.queue, item.id, _ms(lease))

    def bury(self, item: Item, reason: str = "") -> None:
        """Makes it a dead letter, which waits for somebody to look at it."""
        body = reason.encode()
        self._ask("OK", "bury", item.queue, item.id, len(body), body=body)

    # Queues

    def browse(self, queue: str, state: str = "ready", *, page: int = 100, body: Optional[int] = None) -> Iterator[Found]:
        """All items that are ready, delayed, open or dead, without taking them; `body`: no more than so many bytes of each.

        They are asked for a page at a time: what comes, goes or moves meanwhile may be seen or not.
        """
        options = [] if body is None else [f"body={body}"]
        cursor: List[str] = []
        while True:
            found = []
            after = [f"after={cursor[0]}"] if cursor else []
            for words, part in self._listing("FOUND", "browse", queue, state, page, *after, *options, end=cursor):
                pairs = (word.partition("=") for word in words[4:])
                values = {name: value.encode("utf-8", "surrogateescape") for name, _, value in pairs}
                if "reason" in values:
                    values["reason"] = unquote_to_bytes(values["reason"])
                found.append(Found(words[0], int(words[1]), words[2], part, values))
            yield from found
            if not cursor:
                return

    def kick(self, queue: str, count: Optional[int] = None, *, id: Optional[int] = None) -> int:
        """Makes dead letters ready again: the `count` oldest, the one with this id, or all. Returns how many; 0 also if none has the id."""
        which = f"id={id}" if id is not None else "all" if count is None else str(count)
        return self._ask_number("OK", "kick", queue, which, or_else={"NOT_FOUND": ["0"]})

    def purge(self, queue: str, state: str) -> int:
        """Removes all items that are ready, delayed, dead, or all three; returns how many. Open ones stay."""
        return self._ask_number("OK", "purge", queue, state)

    def pause(self, queue: str) -> None:
        """Nothing is handed out until `resume`, also after a restart."""
        self._ask("OK", "pause", queue)

    def resume(self, queue: str) -> None:
        """Ends a pause."""
        self._ask("OK", "resume", queue)

    # The wire

    def _ask(
        self, hoped_for: str, *words: object, body: Optional[bytes] = None, or_else: Optional[Dict[str, List[str]]] = None
    ) -> List[str]:
        """Sends a request and returns the words behind `hoped_for` in its answer; or what is said for another first word."""
        self._send(words, body)
        word, rest = self._answer(self._timeout)
        if word == hoped_for:
            return rest
        if or_else and word in or_else:
            return or_else[word]
        raise self._error(word, rest, words)

    def _ask_number(self, hoped_for: str, *words: object, **more) -> int:
        """As `_ask`, where one number is the answer."""
        rest = self._ask(hoped_for, *words, **more)
        if len(rest) != 1 or not rest[0].isdecimal():
            raise self._error(hoped_for, rest, words)
        return int(rest[0])

    def _listing(
        self, each: str, *words: object, wait: float = 0, end: Optional[List[str]] = None
    ) -> Iterator[Tuple[List[str], bytes]]:
        """Sends a request that is answered with several bodies and END; what stands behind END is put into `end`.

        The number of bytes of the body is the last word of an ITEM, and the fourth of a FOUND.
        """
        self._send(words, None)
        while True:
            word, rest = self._answer(self._timeout + wait)
            if word == "END":
                if end is not None:
                    end[:] = rest
                return
            if word != each:
                raise self._error(word, rest, words)
            numbers = rest[1:] if each == "ITEM" else rest[1:4:2]
            is_sound = len(numbers) == (5 if each == "ITEM" else 2) and all(number.isdecimal() for number in numbers)
            body = self._receive(int(numbers[-1]) + 2, self._timeout) if is_sound else b""
            if not body.endswith(b"\r\n"):
                raise self._error(word, rest, words)
            yield rest, body[:-2]

    def _send(self, words: Sequence[object], body: Optional[bytes]) -> None:
        line = [str(word).encode("utf-8", "surrogateescape") for word in words]
        # A space or a line end inside a word would make it something else.
        if not all(line) or any(byte <= 0x20 for word in line for byte in word):
            raise ValueError(f"a word is empty or has a space or a control character: {words!r}")
        if self._is_broken:
            raise ConnectionLost("the connection has ended")
        request = b" ".join(line) + b"\r\n" + (b"" if body is None else body + b"\r\n")
        # Until the answer is here, whatever happens leaves the connection out of step.
        self._is_broken = True
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(request)
        except OSError as error:
            raise ConnectionLost(f"sending: {error}") from error

    def _answer(self, patience: float) -> Tuple[str, List[str]]:
        """The first word of a line, and the others."""
        deadline = time.monotonic() + patience
        while b"\r\n" not in self._received:
            self._receive_some(deadline)
        line, _, self._received = self._received.partition(b"\r\n")
        word, *rest = line.decode("utf-8", "surrogateescape").split(" ")
        # Behind an ITEM or a FOUND more is to come.
        self._is_broken = word in ("ITEM", "FOUND")
        return word, rest

    def _receive(self, size: int, patience: float) -> bytes:
        deadline = time.monotonic() + patience
        while len(self._received) < size:
            self._receive_some(deadline)
        piece, self._received = self._received[:size], self._received[size:]
        return piece

    def _receive_some(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise socket.timeout("no answer in time")
            self._socket.settimeout(left)
            piece = self._socket.recv(65536)
        except OSError as error:
            self.close()
            raise ConnectionLost(f"receiving: {error}") from error
        if not piece:
            self.close()
            raise ConnectionLost("the server closed the connection")
        self._received += piece

    def _error(self, word: str, rest: Sequence[str], request: Sequence[object]) -> KQueueError:
        said = " ".join([word, *rest])
        kinds = {"NOT_STORED": NotStored, "NOT_HELD": NotHeld}
        if word in kinds:
            return kinds[word](f"{request[0]}: {said}")
        if word in ("CLIENT_ERROR", "SERVER_ERROR", "ERROR"):
            return Refused(f"{request[0]}: {said}")
        self.close()
        return ConnectionLost(f"{request[0]}: not an answer of a queue server: {said!r}")
