--TEST--
Null when nothing is there
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
var_dump($q->reserve('none'), $q->pop('none'), $q->peek('none'), $q->size('none'), $q->reserve(['a', 'b'], 0.05), $q->pop('none', 0.05));
?>
--EXPECT--
NULL
NULL
NULL
int(0)
NULL
NULL
