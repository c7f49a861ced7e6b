"""What the programs beside this file share: `python3 FILE PORT CASE` runs the function CASE and says "ok" if nothing was wrong."""

import socket
import sys

PORT = int(sys.argv[1])


def same(expected, got):
    if type(expected) is not type(got) or expected != got:
        line = sys._getframe(1).f_lineno
        sys.exit(f"line {line}: expected {expected!r:.500}, got {got!r:.500}")


def fails(error, call):
    """Returns what `call` raised, which must be an `error`."""
    try:
        got = call()
    except error as raised:
        return str(raised)
    line = sys._getframe(1).f_lineno
    sys.exit(f"line {line}: expected {error.__name__}, got {got!r:.500}")


def without_the_client(request, expected):
    """Sends a line and reads what is expected, and that only."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=60) as connection:
        connection.sendall(request + b"\r\n")
        got = b""
        while len(got) < len(expected):
            part = connection.recv(len(expected) - len(got))
            if not part:
                break
            got += part
    same(expected, got)


def run_case(names):
    names[sys.argv[2]]()
    print("ok", end="")
