--TEST--
Null servers means ini kqueue.servers, as it is when the object is made
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
ini_set('kqueue.servers', $server->address());
$q = new KQueue();
ini_set('kqueue.servers', '127.0.0.1:1');
$q->push('q', 'b');
var_dump($q->pop('q'), array_keys($q->ping()) === [$server->address()]);
?>
--EXPECT--
string(1) "b"
bool(true)
