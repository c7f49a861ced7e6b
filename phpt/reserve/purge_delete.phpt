--TEST--
purge empties a queue, delete removes it
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('q', ['a', 'b']);
$q->purge('q');
var_dump($q->size('q'), $server->stat('queue_q_items'));
$q->push('q', 'c');
$q->delete('q');
var_dump($q->size('q'), $server->stat('queue_q_items'));
$q->delete('q');
?>
--EXPECT--
int(0)
string(1) "0"
int(0)
NULL
