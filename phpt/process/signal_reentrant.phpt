--TEST--
A signal handler may use the same KQueue while reserve waits
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
pcntl_signal(SIGALRM, function () use ($q) { $q->push('q', 'from the handler'); });
pcntl_alarm(1);
var_dump($q->reserve('q', 600.0), $q->pop('q'));
?>
--EXPECT--
NULL
string(16) "from the handler"
