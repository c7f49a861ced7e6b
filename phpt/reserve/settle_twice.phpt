--TEST--
Settling twice: KQueueLostException
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('q', ['a', 'b']);
$a = $q->reserve('q');
$a->ack();
outcome(fn () => $a->ack());
outcome(fn () => $a->release());
$b = $q->reserve('q');
$b->release();
outcome(fn () => $b->ack());
var_dump($q->size('q'));
?>
--EXPECTF--
KQueueLostException: %s
KQueueLostException: %s
KQueueLostException: %s
int(1)
