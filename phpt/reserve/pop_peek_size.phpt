--TEST--
pop takes in order, peek leaves, size counts
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('q', ['a', 'b', 'c']);
var_dump($q->peek('q'), $q->peek('q'), $q->size('q'), $q->pop('q'), $q->pop('q'), $q->size('q'), $q->pop('q'), $q->pop('q'));
?>
--EXPECT--
string(1) "a"
string(1) "a"
int(3)
string(1) "a"
string(1) "b"
int(1)
string(1) "c"
NULL
