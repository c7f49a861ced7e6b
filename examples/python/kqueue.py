"""A client for kqueue-server's extended commands, in one file and without a dependency.

It shows how little it takes: docs/protocol.md, section "Extended commands", is all that one has to know. One connection, one request at a time; a connection
whose answer did not come in time or could not be understood is closed and never used again.

    queue = Client("127.0.0.1:22133")
    queue.put("mails", b"hello", delay=60, key="mail-4711")
    for item in queue.reserve(["mails"], wait=10):
        send(item.body)
        queue.ack(item)
"""

import socket
from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Optional, Sequence, Tuple, Union
from urllib.parse import unquote_to_bytes

LINE_MAX = 8192


class Error(Exception):
    """Something went wrong; the message says what."""


class Broken(Error):
    """The connection is gone. Whether the last request was carried out is not known."""


class Refused(Error):
    """The server understood, and does not do it (the queue or the disk is full, its status)."""


class Invalid(Error):
    """The request cannot be: a name, a number, an option."""


class NotHeld(Error):
    """The item is not ours (any more): stop working on it."""


@dataclass(frozen=True)
class Item:
    """An item that is reserved: settle it with ack, release or bury."""

    queue: str
    id: int
    flags: int
    attempts: int
    age_ms: int
    body: bytes


@dataclass(frozen=True)
class Found:
    """An item that browse showed. `names` has what the server said of it, such as due_ms."""

    queue: str
    id: int
    state: str
    body: bytes
    names: Dict[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> bytes:
        """Why it was buried."""
        return unquote_to_bytes(self.names.get("reason", ""))


class Client:
    """One connection to a server. Times are seconds."""

    def __init__(self, address: str = "127.0.0.1:22133", timeout: float = 5.0):
        self._timeout = timeout
        try:
            if address.startswith("unix:"):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.settimeout(timeout)
                self._socket.connect(address[5:])
            else:
                host, port = address.rsplit(":", 1)
                self._socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise Broken(f"{address}: {error}") from error
        self._input = self._socket.makefile("rb")

    def close(self) -> None:
        """Ends the connection. What is still reserved returns to its queue at once."""
        self._input.close()
        self._socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Items

    def put(
        self,
        queue: str,
        body: bytes,
        *,
        ttl: int = 0,
        flags: int = 0,
        delay: float = 0,
        priority: str = "normal",
        key: Optional[str] = None,
    ) -> int:
        """Puts an item and answers its id; it is as durable then as the queue is set to."""
        options = []
        if ttl:
            options.append(f"ttl={ttl}")
        if flags:
            options.append(f"flags={flags}")
        if delay:
            options.append(f"delay={_ms(delay)}")
        if priority != "normal":
            options.append(f"priority={priority}")
        if key is not None:
            options.append(f"key={key}")
        words = self._ask(["put", queue, str(len(body)), *options], body)
        if len(words) != 2 or words[0] != "STORED":
            raise self._unexpected(words)
        return int(words[1])

    def reserve(
        self, queues: Sequence[str], max: int = 1, wait: float = 0, lease: float = 0
    ) -> List[Item]:
        """Takes up to `max` items; waits only if there is none at all."""
        line = ["reserve", str(max), str(_ms(wait)), str(_ms(lease)), *queues]
        items = []
        for words, body in self._parts(line, "ITEM", 6, wait):
            numbers = [int(word) for word in words[2:6]]
            items.append(Item(words[1], *numbers, body))
        return items

    def ack(self, item: Item) -> None:
        """The item is done: it is removed."""
        self._settle(["ack", item.queue, str(item.id)])

    def release(self, item: Item, delay: Optional[float] = None) -> None:
        """The item comes again: at its old place, after `delay`, or as the queue's retry_delay says."""
        options = [] if delay is None else [f"delay={_ms(delay)}"]
        self._settle(["release", item.queue, str(item.id), *options])

    def touch(self, item: Item, lease: float) -> None:
        """The item's lease ends so long from now."""
        self._settle(["touch", item.queue, str(item.id), str(_ms(lease))])

    def bury(self, item: Item, reason: bytes = b"") -> None:
        """The item becomes a dead letter."""
        self._settle(["bury", item.queue, str(item.id), str(len(reason))], reason)

    # Queues

    def browse(self, queue: str, state: str = "ready", page: int = 100) -> Iterator[Found]:
        """All items of a queue in a state (ready, delayed, open, dead), taking none."""
        after: List[str] = []
        while True:
            cursor: List[str] = []
            line = ["browse", queue, state, str(page), *after]
            for words, body in self._parts(line, "FOUND", 4, 0, cursor):
                names = dict(word.split("=", 1) for word in words[5:])
                yield Found(words[1], int(words[2]), words[3], body, names)
            if not cursor:
                return
            after = [f"after={cursor[0]}"]

    def kick(self, queue: str, which: Union[int, str] = "all") -> int:
        """Dead letters become ready: "all", so many of the oldest, or "id=<id>". Answers how many."""
        words = self._ask(["kick", queue, str(which)])
        return 0 if words == ["NOT_FOUND"] else self._count(words)

    def purge(self, queue: str, what: str) -> int:
        """Removes what is ready, delayed or dead, or all of it. Answers how many items."""
        return self._count(self._ask(["purge", queue, what]))

    def pause(self, queue: str) -> None:
        """The queue hands nothing out until it is resumed."""
        self._settle(["pause", queue])

    def resume(self, queue: str) -> None:
        """Ends a pause."""
        self._settle(["resume", queue])

    def capabilities(self) -> List[str]:
        """What the server is, then the commands and options that it has."""
        words = self._ask(["capabilities"])
        if words[0] != "CAPABILITIES":
            raise self._unexpected(words)
        return words[1:]

    # The wire

    def _settle(self, line: List[str], body: Optional[bytes] = None) -> None:
        words = self._ask(line, body)
        if words == ["NOT_HELD"]:
            raise NotHeld(" ".join(line[:3]))
        if words != ["OK"]:
            raise self._unexpected(words)

    def _count(self, words: List[str]) -> int:
        if len(words) != 2 or words[0] != "OK":
            raise self._unexpected(words)
        return int(words[1])

    def _parts(
        self, line: List[str], word: str, size_at: int, wait: float, cursor: Optional[list] = None
    ) -> Iterator[Tuple[List[str], bytes]]:
        """The parts of an answer up to END. All are read before the first is given, so that the connection is in step whatever the caller does."""
        words = self._ask(line, None, wait)
        parts = []
        while words[0] == word:
            parts.append((words, self._body(int(words[size_at]))))
            words = self._line()
        if words[0] != "END":
            raise self._unexpected(words)
        if cursor is not None:
            cursor.extend(words[1:])
        return iter(parts)

    def _ask(self, line: List[str], body: Optional[bytes] = None, wait: float = 0) -> List[str]:
        for word in line:
            if not word or any(ord(letter) <= 32 or ord(letter) == 127 for letter in word):
                raise Invalid(f"{word!r} is not one word")
        request = " ".join(line).encode("latin-1") + b"\r\n"
        if body is not None:
            request += body + b"\r\n"
        try:
            self._socket.settimeout(self._timeout + wait)
            self._socket.sendall(request)
        except OSError as error:
            raise self._broken(str(error)) from error
        words = self._line()
        if words[0] in ("CLIENT_ERROR", "ERROR"):
            raise Invalid(" ".join(words[1:]))
        if words[0] in ("SERVER_ERROR", "NOT_STORED"):
            raise Refused(" ".join(words[1:]))
        return words

    def _line(self) -> List[str]:
        line = self._read(lambda: self._input.readline(LINE_MAX))
        if not line.endswith(b"\r\n"):
            raise self._broken("the answer was cut off")
        return line[:-2].decode("latin-1").split(" ")

    def _body(self, size: int) -> bytes:
        body = self._read(lambda: self._input.read(size + 2))
        if len(body) != size + 2 or not body.endswith(b"\r\n"):
            raise self._broken("the answer was cut off")
        return body[:-2]

    def _read(self, read) -> bytes:
        try:
            return read()
        except (OSError, ValueError) as error:
            raise self._broken(str(error)) from error

    def _unexpected(self, words: List[str]) -> Broken:
        return self._broken(f"unexpected answer {' '.join(words)!r}")

    def _broken(self, what: str) -> Broken:
        """Nothing that comes over this connection can be trusted any more."""
        self.close()
        return Broken(what)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
