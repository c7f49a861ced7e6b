--TEST--
With strict_types, nothing is coerced but int to float
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
declare(strict_types=1);
require __DIR__ . '/../utils/server.inc';
class Text
{
    public function __toString(): string { return 'text'; }
}
$server = Server::start();
$q = new KQueue($server->address(), ['timeout' => 5]);
outcome(fn () => $q->push('q', 12));
outcome(fn () => $q->push('q', new Text()));
outcome(fn () => $q->push('q', 'b', '1'));
outcome(fn () => $q->push('q', null));
outcome(fn () => $q->reserve(1));
outcome(fn () => $q->pushMany('q', [12]));
outcome(fn () => new KQueue(null, ['retries' => '1']));
outcome(fn () => $q->pop('q', 0));
?>
--EXPECT--
TypeError: KQueue::push(): Argument #2 ($body) must be of type string, int given
TypeError: KQueue::push(): Argument #2 ($body) must be of type string, Text given
TypeError: KQueue::push(): Argument #3 ($ttl) must be of type int, string given
TypeError: KQueue::push(): Argument #2 ($body) must be of type string, null given
TypeError: KQueue::reserve(): Argument #1 ($queues) must be of type array|string, int given
TypeError: KQueue::pushMany(): Argument #2 ($bodies) must contain only values of type string, int given
TypeError: KQueue::__construct(): Argument #2 ($options) option "retries" must be of type int, string given
returned NULL
