"""Kestrel's Thrift interface, used through a client that the Thrift compiler generated from docs/kestrel.thrift.

with_thrift.py SOCKET ADDRESS CASE: the case that is named, against the server that listens there, for Thrift and for memcached clients.
"""

import socket
import sys
import threading
import time

from thrift.protocol import TBinaryProtocol
from thrift.Thrift import TApplicationException, TMessageType, TType
from thrift.transport import TSocket, TTransport

from kestrel import Kestrel
from kestrel.ttypes import Status

# Longer than anything takes; only a defect waits for so long.
PATIENCE = 60000
# Longer than a test takes.
HOUR = 3600000


class Connection(Kestrel.Client):
    def __init__(self, protocol=TBinaryProtocol.TBinaryProtocol, **settings):
        stream = TSocket.TSocket(unix_socket=sys.argv[1])
        stream.setTimeout(2 * PATIENCE)
        self.transport = TTransport.TFramedTransport(stream)
        self.transport.open()
        super().__init__(protocol(self.transport, **settings))

    def close(self):
        self.transport.close()


def same(expected, got):
    if expected != got:
        raise AssertionError('expected %r, got %r' % (expected, got))


def data(items):
    return [item.data for item in items]


def refused(call, *arguments):
    try:
        call(*arguments)
    except TApplicationException as error:
        same(TApplicationException.INTERNAL_ERROR, error.type)
        method = call.__name__
        if not error.message.startswith("Internal error processing %s: '" % method):
            raise AssertionError('it says %r' % error.message)
        return error.message
    raise AssertionError('it was not refused')


def stat(name):
    host, port = sys.argv[2].rsplit(':', 1)
    with socket.create_connection((host, int(port))) as stream:
        stream.sendall(b'stats\r\nquit\r\n')
        lines = stream.makefile('r').read().split('\n')
    return next(line.split()[2] for line in lines if line.startswith('STAT %s ' % name))


def wait_until(is_so):
    end = time.monotonic() + PATIENCE / 1000
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError('it never came')


def every_method():
    c = Connection()
    same(stat('version'), c.get_version())
    same(2, c.put('q', [b'first', b'second'], 0))
    info = c.peek('q')
    same((b'first', 2, 11, 0, 0), (info.head_item, info.items, info.bytes, info.waiters, info.open_transactions))
    first, second = c.get('q', 5, 0, HOUR)
    same([b'first', b'second'], [first.data, second.data])
    same(True, 0 < first.id < second.id)
    same(2, c.peek('q').open_transactions)
    same(1, c.confirm('q', {first.id}))
    same(1, c.abort('q', {second.id, first.id}))
    same([(b'second', 0)], [(item.data, item.id) for item in c.get('q', -1, 0, 0)])
    c.put('q', [b'x'], 0)
    c.flush_queue('q')
    same([], c.get('q', 1, 0, 0))
    c.put('q', [b'x'], 0)
    c.put('r', [b'x'], 0)
    c.flush_all_queues()
    same((0, 0), (c.peek('q').items, c.peek('r').items))
    c.put('q', [b'x'], 0)
    c.delete_queue('q')
    same([], c.get('q', 1, 0, 0))
    same(Status.UP, c.current_status())
    c.set_status(Status.UP)


def any_bytes():
    c = Connection()
    values = [b'', b'\r\nEND\r\n', bytes(range(256)), b'x' * (1 << 20)]
    same(len(values), c.put('q', values, 0))
    same(values, data(c.get('q', 9, 0, 0)))
    # One reply does not hold everything that there is: the next one goes on.
    for _ in range(3):
        same(4, c.put('q', [b'x' * (1 << 20)] * 4, 0))
    count = 0
    while count < 12:
        items = c.get('q', 12, 0, 0)
        same(True, 0 < len(items) < 12)
        count += len(items)
    same([], c.get('q', 12, 0, 0))


def other_protocols():
    for settings in [
        {'strictRead': True, 'strictWrite': True},
        {'strictRead': True, 'strictWrite': False},
    ]:
        c = Connection(**settings)
        same(1, c.put('q', [b'x'], 0))
        same([b'x'], data(c.get('q', 1, 0, 0)))
    c = Connection(TBinaryProtocol.TBinaryProtocolAccelerated)
    same(1, c.put('q', [b'x'], 0))
    same([b'x'], data(c.get('q', 1, PATIENCE, 0)))


def auto_abort():
    a, b = Connection(), Connection()
    a.put('q', [b'x', b'y'], 0)
    (x,) = a.get('q', 1, 0, HOUR)
    (y,) = a.get('q', 1, 0, 50)
    # Nobody confirms it: whoever waits gets it.
    same([b'y'], data(b.get('q', 1, PATIENCE, 0)))
    same(0, a.confirm('q', {y.id}))
    same(1, b.confirm('another', {x.id}))
    same(0, b.confirm('q', {x.id}))


def confirmed_elsewhere():
    a, b = Connection(), Connection()
    a.put('q', [b'x', b'y', b'z'], 0)
    x, y, z = a.get('q', 3, 0, HOUR)
    same(2, b.confirm('q', {x.id, z.id}))
    same(1, b.abort('q', {x.id, y.id, z.id}))
    same([b'y'], data(a.get('q', 3, 0, 0)))


def disconnected():
    a, b = Connection(), Connection()
    b.put('q', [b'x', b'y'], 0)
    before = stat('curr_connections')
    (x,) = a.get('q', 1, 0, HOUR)
    (y,) = a.get('q', 1, 0, 50)
    a.close()
    wait_until(lambda: int(stat('curr_connections')) == int(before) - 1)
    same([b'y'], data(b.get('q', 1, PATIENCE, 0)))
    same([], b.get('q', 1, 0, 0))
    same(1, b.peek('q').open_transactions)
    same(1, b.abort('q', {x.id}))
    same([b'x'], data(b.get('q', 1, 0, 0)))


def vanished_while_waiting():
    a, b = Connection(), Connection()
    a.send_get('q', 2, PATIENCE, HOUR)
    wait_until(lambda: b.peek('q').waiters == 1)
    b.put('q', [b'x'], 0)
    wait_until(lambda: b.peek('q').waiters == 1 and b.peek('q').open_transactions == 1)
    a.close()
    same([b'x'], data(b.get('q', 1, PATIENCE, 0)))


def expiration():
    c = Connection()
    c.put('q', [b'soon'], 1)
    wait_until(lambda: c.peek('q').head_item is None)
    c.put('q', [b'late'], HOUR)
    c.put('q', [b'never'], 0)
    c.put('q', [b'never, either'], -1)
    same([b'late', b'never', b'never, either'], data(c.get('q', 9, 0, 0)))


def collected():
    a, b = Connection(), Connection()
    got = []
    thread = threading.Thread(target=lambda: got.extend(data(a.get('q', 3, PATIENCE, 0))))
    thread.start()
    for body in [b'x', b'y', b'z']:
        wait_until(lambda: b.peek('q').waiters == 1)
        same([], got)
        b.put('q', [body], 0)
    thread.join()
    same([b'x', b'y', b'z'], got)
    b.put('q', [b'x'], 0)
    same([b'x'], data(a.get('q', 3, 50, 0)))
    same([], a.get('q', 3, 50, 0))


def interleaved():
    a, b = Connection(), Connection()
    for number in range(20):
        body = b'%d' % number
        a.send_get('q', 1, PATIENCE, 0)
        # What is behind a wait is answered behind it.
        a.send_get_version()
        same(1, b.put('q', [body], 0))
        b.send_put('r', [body], 0)
        b.send_get('r', 1, 0, HOUR)
        same([body], data(a.recv_get()))
        same(stat('version'), a.recv_get_version())
        same(1, b.recv_put())
        (item,) = b.recv_get()
        same(body, item.data)
        same(1, a.confirm('r', {item.id}))


def refusals():
    c = Connection()
    # The first two have room.
    same(2, c.put('small', [b'a', b'b', b'c'], 0))
    same(0, c.put('small', [b'c'], 0))
    same([b'a', b'b'], data(c.get('small', 9, 0, 0)))
    same(1, c.put('q', [b'a', b'x' * ((1 << 20) + 1), b'b'], 0))
    same([b'a'], data(c.get('q', 9, 0, 0)))
    for name in ['a.b', '', '+', 'a/b', 'x' * 251]:
        refused(c.put, name, [b'a'], 0)
        refused(c.get, name, 1, 0, 0)
        refused(c.peek, name)
    same(True, '10000' in refused(c.put, 'q', [b''] * 10001, 0))
    # It is still there.
    same(1, c.put('q', [b'a'], 0))


def unknown_queue():
    c = Connection()
    same([], c.get('nobody', 1, 0, 0))
    c.flush_queue('none')
    c.delete_queue('none')
    c.flush_queue('a.b')
    info = c.peek('nothing')
    same((None, 0, 0), (info.head_item, info.items, info.bytes))
    same(0, c.confirm('none', {1, 2, 3}))
    same(0, c.abort('none', set()))


def alias():
    c = Connection()
    same(1, c.put('events', [b'x'], 0))
    refused(c.peek, 'events')
    same([], c.get('events', 1, 0, 0))
    same([b'x'], data(c.get('a', 1, 0, 0)))
    same([b'x'], data(c.get('b', 1, 0, 0)))


def status():
    c = Connection()
    c.put('q', [b'x', b'y'], 0)
    (x,) = c.get('q', 1, 0, HOUR)
    c.set_status(Status.READ_ONLY)
    same(Status.READ_ONLY, c.current_status())
    for call, arguments in [(c.put, ('q', [b'z'], 0)), (c.flush_queue, ('q',)), (c.flush_all_queues, ()), (c.delete_queue, ('q',))]:
        same(True, 'READONLY' in refused(call, *arguments))
    same([b'y'], data(c.get('q', 1, 0, 0)))
    c.set_status(Status.QUIESCENT)
    same(Status.QUIESCENT, c.current_status())
    refused(c.get, 'q', 1, 0, 0)
    refused(c.peek, 'q')
    same(1, c.abort('q', {x.id}))
    refused(c.set_status, Status.NOT_CONFIGURED)
    same(Status.QUIESCENT, c.current_status())
    c.set_status(Status.UP)
    same([b'x'], data(c.get('q', 1, 0, 0)))


def finagle():
    """Its clients ask first whether the server takes part in tracing, and go on without if it does not."""
    c = Connection()
    protocol = c._oprot
    protocol.writeMessageBegin('__can__finagle__trace__v3__', TMessageType.CALL, 0)
    protocol.writeStructBegin('ConnectionOptions')
    protocol.writeFieldStop()
    protocol.writeStructEnd()
    protocol.writeMessageEnd()
    protocol.trans.flush()
    name, kind, sequence = protocol.readMessageBegin()
    same(('__can__finagle__trace__v3__', TMessageType.EXCEPTION, 0), (name, kind, sequence))
    error = TApplicationException()
    error.read(protocol)
    protocol.readMessageEnd()
    same(TApplicationException.UNKNOWN_METHOD, error.type)
    same(1, c.put('q', [b'x'], 0))


def hostile():
    def talk(sent):
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(PATIENCE / 1000)
            stream.connect(sys.argv[1])
            stream.sendall(sent)
            return stream.makefile('rb').read()

    same(True, b'a frame has 0 to' in talk(b'\x7f\xff\xff\xff'))
    same(True, b'a frame has 0 to' in talk(b'get q\r\n'))
    same(True, b'the frame ends too early' in talk(b'\0\0\0\0'))
    nested = b'\x80\x01\0\x01\0\0\0\x03get\0\0\0\x01' + b'\x0c\0\x01' * 100000
    same(True, b'nested too deeply' in talk(len(nested).to_bytes(4, 'big') + nested))
    # Whoever was not hostile has noticed nothing.
    same(1, Connection().put('q', [b'x'], 0))


def hold():
    c = Connection()
    c.put('q', [b'x', b'y'], 0)
    c.get('q', 1, 0, HOUR)


def held_before_a_restart():
    same([b'x', b'y'], data(Connection().get('q', 9, 0, 0)))


globals()[sys.argv[3]]()
print('ok', end='')
