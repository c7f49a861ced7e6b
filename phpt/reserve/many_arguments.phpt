--TEST--
Arguments of reserveMany out of range
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
outcome(fn () => $q->reserveMany('jobs', 0));
outcome(fn () => $q->reserveMany('jobs', -1));
outcome(fn () => $q->reserveMany('jobs', 1, -1.0));
outcome(fn () => $q->reserveMany('jobs', 1, 0.0, -1.0));
outcome(fn () => $q->reserveMany('jobs', 'many'));
outcome(fn () => $q->reserveMany('jobs'));
outcome(fn () => $q->reserveMany([], 1));
?>
--EXPECT--
ValueError: KQueue::reserveMany(): Argument #2 ($max) must be at least 1
ValueError: KQueue::reserveMany(): Argument #2 ($max) must be at least 1
ValueError: KQueue::reserveMany(): Argument #3 ($timeout) must be between 0 and 2147483 seconds
ValueError: KQueue::reserveMany(): Argument #4 ($lease) must be between 0 and 2147483 seconds
TypeError: KQueue::reserveMany(): Argument #2 ($max) must be of type int, string given
ArgumentCountError: KQueue::reserveMany() expects at least 2 arguments, 1 given
ValueError: KQueue::reserveMany(): Argument #1 ($queues) must name between 1 and 16 queues
