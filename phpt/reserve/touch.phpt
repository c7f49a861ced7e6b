--TEST--
touch extends the lease from now
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('jobs', 'a');
$message = $q->reserve('jobs', 0.0, 0.4);
$message->touch(600.0);
$other = new KQueue($server->address(), ['persistent' => false]);
var_dump($other->reserve('jobs', 0.8), $message->isSettled());
$message->touch(0.1);
$again = $other->reserve('jobs', 10.0);
var_dump($again->getAttempts());
outcome(fn () => $message->touch(1.0));
var_dump($message->isSettled());
outcome(fn () => $again->touch(-1.0));
?>
--EXPECTF--
NULL
bool(false)
int(2)
KQueueLostException: item %d of queue "jobs" is no longer ours: its lease has ended; stop working on it
bool(true)
ValueError: KQueue\Message::touch(): Argument #1 ($lease) must be between 0 and 2147483 seconds
