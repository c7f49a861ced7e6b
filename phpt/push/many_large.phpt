--TEST--
pushMany of thousands of items
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address(), ['timeout' => 30]);
$ids = $q->pushMany('q', (function () { for ($i = 0; $i < 5000; $i++) yield "k$i" => "body $i"; })());
var_dump(count($ids), count(array_unique($ids)), $q->size('q'), $q->pop('q'), array_key_last($ids));
?>
--EXPECT--
int(5000)
int(5000)
int(5000)
string(6) "body 0"
string(5) "k4999"
