--TEST--
consume stops after $max items, after false, and when nothing came
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('jobs', range(1, 6));
var_dump($q->consume('jobs', fn () => null, 2));
var_dump($q->consume('jobs', fn ($message) => $message->getBody() !== '4'));
var_dump($q->consume('jobs', fn () => 0, timeout: 0.05));
var_dump($q->size('jobs'));
$q->pushMany('jobs', range(1, 2));
var_dump($q->consume('jobs', function &() {
    static $by_reference = false;
    return $by_reference;
}));
var_dump($q->size('jobs'));
?>
--EXPECT--
int(2)
int(2)
int(2)
int(0)
int(1)
int(1)
