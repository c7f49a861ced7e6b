--TEST--
push returns the id that the message has
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$first = $q->push('q', 'a');
$second = $q->push('q', 'b');
$message = $q->reserve('q');
var_dump($first !== '', $first !== $second, $message->getId() === $first);
?>
--EXPECT--
bool(true)
bool(true)
bool(true)
