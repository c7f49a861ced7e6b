--TEST--
Times out of range are ValueErrors
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$q = new KQueue('127.0.0.1:1');
outcome(fn () => $q->push('q', 'b', -1));
outcome(fn () => $q->push('q', 'b', 2147483648));
outcome(fn () => $q->pushMany('q', ['b'], -1));
outcome(fn () => $q->pop('q', -0.001));
outcome(fn () => $q->pop('q', NAN));
outcome(fn () => $q->pop('q', INF));
outcome(fn () => $q->reserve('q', -1));
outcome(fn () => $q->reserve('q', 0, -1));
outcome(fn () => $q->reserve('q', 0, NAN));
outcome(fn () => $q->reserve('q', 0, 1e10));
?>
--EXPECT--
ValueError: KQueue::push(): Argument #3 ($ttl) must be between 0 and 2147483647 seconds
ValueError: KQueue::push(): Argument #3 ($ttl) must be between 0 and 2147483647 seconds
ValueError: KQueue::pushMany(): Argument #3 ($ttl) must be between 0 and 2147483647 seconds
ValueError: KQueue::pop(): Argument #2 ($timeout) must be between 0 and 2147483 seconds
ValueError: KQueue::pop(): Argument #2 ($timeout) must be between 0 and 2147483 seconds
ValueError: KQueue::pop(): Argument #2 ($timeout) must be between 0 and 2147483 seconds
ValueError: KQueue::reserve(): Argument #2 ($timeout) must be between 0 and 2147483 seconds
ValueError: KQueue::reserve(): Argument #3 ($lease) must be between 0 and 2147483 seconds
ValueError: KQueue::reserve(): Argument #3 ($lease) must be between 0 and 2147483 seconds
ValueError: KQueue::reserve(): Argument #3 ($lease) must be between 0 and 2147483 seconds
