--TEST--
An exception from a signal handler comes out of reserve
--EXTENSIONS--
pcntl
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
pcntl_async_signals(true);
pcntl_signal(SIGALRM, fn () => throw new DomainException('time is up'));
pcntl_alarm(1);
outcome(fn () => $q->reserve('q', 600.0));
$q->push('q', 'b');
var_dump($q->pop('q'));
?>
--EXPECT--
DomainException: time is up
string(1) "b"
