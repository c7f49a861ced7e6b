--TEST--
A reserved item is invisible, and gone after ack
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('q', 'b');
$message = $q->reserve('q');
var_dump($q->size('q'), $q->reserve('q'), $server->stat('queue_q_open_transactions'), $message->isSettled());
$message->ack();
var_dump($message->isSettled(), $server->stat('queue_q_open_transactions'), $q->pop('q'));
?>
--EXPECT--
int(0)
NULL
string(1) "1"
bool(false)
bool(true)
string(1) "0"
NULL
