--TEST--
release puts the item back to its place, with its attempts counted
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('q', ['first', 'second']);
$message = $q->reserve('q');
var_dump($message->getAttempts());
$message->release();
var_dump($message->isSettled());
$again = $q->reserve('q');
var_dump($again->getBody(), $again->getAttempts(), $again->getId() === $message->getId());
?>
--EXPECT--
int(1)
bool(true)
string(5) "first"
int(2)
bool(true)
