--TEST--
release() without a delay follows the queue's retry_delay, with one it does not
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$server = Server::start("[queues.jobs]\nretry_delay = \"10m\"");
$q = new KQueue($server->address());
$q->push('jobs', 'a');
$q->reserve('jobs')->release(0.0);
$message = $q->reserve('jobs');
var_dump($message->getAttempts());
$message->release();
var_dump($q->reserve('jobs'), $q->size('jobs'));
?>
--EXPECTF--
int(2)
NULL
int(%d)
