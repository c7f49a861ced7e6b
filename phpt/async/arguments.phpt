--TEST--
Bad arguments of pushAsync are told at once and are not counted
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
outcome(fn () => $q->pushAsync('a b', 'x'));
outcome(fn () => $q->pushAsync('q', 'x', -1));
outcome(fn () => $q->pushAsync('q', []));
outcome(fn () => $q->sync(1));
var_dump($q->sync(), $q->size('q'));
?>
--EXPECTF--
ValueError: KQueue::pushAsync(): Argument #1 ($queue) must be a queue name: %s
ValueError: KQueue::pushAsync(): Argument #3 ($ttl) must be between 0 and 2147483647 seconds
TypeError: KQueue::pushAsync(): Argument #2 ($body) must be of type string, array given
ArgumentCountError: KQueue::sync() expects exactly 0 arguments, 1 given
int(0)
int(0)
