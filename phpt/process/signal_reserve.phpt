--TEST--
A signal ends reserve with null, its handler has run, and no item is lost
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
$handled = false;
pcntl_signal(SIGALRM, function () use (&$handled) { $handled = true; });
foreach (['reserve', 'pop'] as $method) {
    $handled = false;
    pcntl_alarm(1);
    var_dump($q->$method('q', 600.0), $handled);
}
$q->push('q', 'b');
var_dump($q->pop('q'));
?>
--EXPECT--
NULL
bool(true)
NULL
bool(true)
string(1) "b"
