--TEST--
If the generator throws, or yields something wrong, nothing is sent
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
outcome(fn () => $q->pushMany('q', (function () { yield 'a'; yield 'b'; throw new DomainException('no more'); })()));
outcome(fn () => $q->pushMany('q', (function () { yield 'a'; yield []; })()));
outcome(fn () => $q->pushMany('q', (function () { yield 'k' => 'a'; yield 'k' => 'b'; })()));
var_dump($q->size('q'));
?>
--EXPECT--
DomainException: no more
TypeError: KQueue::pushMany(): Argument #2 ($bodies) must contain only values of type string, array given
ValueError: KQueue::pushMany(): Argument #2 ($bodies) must not have the key "k" twice
int(0)
