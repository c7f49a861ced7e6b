--TEST--
close returns what is reserved through this object, and only that
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$one = new KQueue($server->address());
$two = new KQueue($server->address());
$one->pushMany('q', ['a', 'b', 'c']);
$a = $one->reserve('q');
$b = $two->reserve('q');
$c = $one->reserve('q');
$one->close();
var_dump($a->isSettled(), $b->isSettled(), $c->isSettled(), $server->stat('queue_q_items'));
outcome(fn () => $a->ack());
$b->ack();
var_dump($one->pop('q'), $one->pop('q'), $one->pop('q'));
?>
--EXPECTF--
bool(true)
bool(false)
bool(true)
string(1) "2"
KQueueLostException: %s
string(1) "a"
string(1) "c"
NULL
