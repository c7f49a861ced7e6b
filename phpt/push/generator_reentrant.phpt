--TEST--
A generator may use the same KQueue
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('in', ['a', 'b', 'c']);
$ids = $q->pushMany('out', (function () use ($q) {
    while ($message = $q->reserve('in')) {
        yield $message->getBody();
        $message->ack();
    }
})());
var_dump(count($ids), $q->size('in'), $q->size('out'));
?>
--EXPECT--
int(3)
int(0)
int(3)
