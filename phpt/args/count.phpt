--TEST--
Too few and too many arguments
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$q = new KQueue('127.0.0.1:1');
outcome(fn () => $q->push('q'));
outcome(fn () => $q->push('q', 'b', 0, 0));
outcome(fn () => $q->reserve());
outcome(fn () => $q->ping(1));
outcome(fn () => KQueue::closeAll(1));
outcome(fn () => new KQueue(null, [], 1));
?>
--EXPECT--
ArgumentCountError: KQueue::push() expects at least 2 arguments, 1 given
ArgumentCountError: KQueue::push() expects at most 3 arguments, 4 given
ArgumentCountError: KQueue::reserve() expects at least 1 argument, 0 given
ArgumentCountError: KQueue::ping() expects exactly 0 arguments, 1 given
ArgumentCountError: KQueue::closeAll() expects exactly 0 arguments, 1 given
ArgumentCountError: KQueue::__construct() expects at most 2 arguments, 3 given
