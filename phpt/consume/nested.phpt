--TEST--
A handler may consume itself, and construct and close objects
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('outer', ['o1', 'o2']);
$q->pushMany('inner', ['i1', 'i2']);
$q->consume('outer', function ($message) use ($q, $server) {
    echo $message->getBody(), ': ', $q->consume('inner', fn ($inner) => print($inner->getBody() . ' '), 1), "\n";
    $other = new KQueue($server->address());
    $other->push('third', 'x');
    $other->close();
}, 0, 0.0);
var_dump($q->size('third'));
?>
--EXPECT--
o1: i1 1
o2: i2 1
int(2)
