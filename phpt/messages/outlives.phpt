--TEST--
The iterator works when its KQueue is gone, and close() gives back what it has
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('jobs', ['a', 'b']);
$messages = (fn () => (new KQueue($server->address()))->messages('jobs'))();
var_dump($messages->current()->getBody());
$other = new KQueue($server->address());
$taken = $other->messages('jobs')->current();
$other->close();
outcome(fn () => $taken->ack());
var_dump($q->size('jobs'));
?>
--EXPECT--
string(1) "a"
KQueueLostException: this message is no longer held: it was settled, returned or lost before
int(1)
