--TEST--
Wrong types are the engine's TypeErrors
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$q = new KQueue('127.0.0.1:1');
outcome(fn () => $q->push([], 'b'));
outcome(fn () => $q->push('q', new stdClass()));
outcome(fn () => $q->push('q', 'b', 'soon'));
outcome(fn () => $q->pop('q', []));
outcome(fn () => $q->reserve(new stdClass()));
outcome(fn () => $q->reserve(['q', []]));
outcome(fn () => $q->reserve(["\xff" => 'q', "\xfe" => 5, "\xfd" => null]));
outcome(fn () => $q->pushMany('q', 'b'));
outcome(fn () => $q->pushMany('q', ['b', null]));
outcome(fn () => $q->pushMany('q', (function () { yield 1.5 => 'b'; })()));
outcome(fn () => new KQueue(new stdClass()));
outcome(fn () => new KQueue(['h', []]));
outcome(fn () => new KQueue(null, 'timeout=1'));
?>
--EXPECT--
TypeError: KQueue::push(): Argument #1 ($queue) must be of type string, array given
TypeError: KQueue::push(): Argument #2 ($body) must be of type string, stdClass given
TypeError: KQueue::push(): Argument #3 ($ttl) must be of type int, string given
TypeError: KQueue::pop(): Argument #2 ($timeout) must be of type float, array given
TypeError: KQueue::reserve(): Argument #1 ($queues) must be of type array|string, stdClass given
TypeError: KQueue::reserve(): Argument #1 ($queues) must contain only values of type string, array given
TypeError: KQueue::reserve(): Argument #1 ($queues) must contain only values of type string, null given
TypeError: KQueue::pushMany(): Argument #2 ($bodies) must be of type Traversable|array, string given
TypeError: KQueue::pushMany(): Argument #2 ($bodies) must contain only values of type string, null given
TypeError: KQueue::pushMany(): Argument #2 ($bodies) must have keys of type int|string, float given
TypeError: KQueue::__construct(): Argument #1 ($servers) must be of type array|string|null, stdClass given
TypeError: KQueue::__construct(): Argument #1 ($servers) must contain only values of type string, array given
TypeError: KQueue::__construct(): Argument #2 ($options) must be of type array, string given
