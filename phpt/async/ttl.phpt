--TEST--
pushAsync takes a ttl and any bytes
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$body = "\0\r\nEND\r\n\xff" . str_repeat('x', 300000);
$q->pushAsync('q', $body, 3600);
$q->pushAsync('q', '');
var_dump($q->sync(), $q->pop('q') === $body, $q->pop('q'));
?>
--EXPECT--
int(2)
bool(true)
string(0) ""
