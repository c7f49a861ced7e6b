--TEST--
Several queues are served in the order given
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('low', ['l1', 'l2']);
$q->pushMany('high', ['h1', 'h2']);
$q->consume(['high', 'low'], function ($message) { echo $message->getQueue(), ' ', $message->getBody(), "\n"; }, 0, 0.0);
?>
--EXPECT--
high h1
high h2
low l1
low l2
