--TEST--
pushMany does not change the caller's array
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$number = 5;
$bodies = [1, 'b' => 2.5, 'r' => &$number];
$q->pushMany('q', $bodies);
echo json_encode($bodies), gettype($number), json_encode([$q->pop('q'), $q->pop('q'), $q->pop('q')]), "\n";
?>
--EXPECT--
{"0":1,"b":2.5,"r":5}integer["1","2.5","5"]
