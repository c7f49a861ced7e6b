--TEST--
consume acks what its handler returns from, and counts it
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('jobs', ['a', 'b', 'c']);
var_dump($q->consume('jobs', function (KQueue\Message $message) {
    echo $message->getBody(), ' ', $message->getAttempts(), ' ', var_export($message->isSettled(), true), "\n";
}, 0, 0.0));
var_dump($q->size('jobs'), $server->stat('queue_jobs_open_transactions'));
?>
--EXPECT--
a 1 false
b 1 false
c 1 false
int(3)
int(0)
string(1) "0"
