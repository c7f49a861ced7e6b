--TEST--
messages() yields items as they come, each taken when it is asked for
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('jobs', ['a', 'b', 'c']);
foreach ($q->messages('jobs') as $n => $message) {
    echo "$n {$message->getBody()}, waiting: {$q->size('jobs')}\n";
    $message->ack();
}
var_dump($q->size('jobs'), $server->stat('queue_jobs_open_transactions'));
?>
--EXPECT--
0 a, waiting: 2
1 b, waiting: 1
2 c, waiting: 0
int(0)
string(1) "0"
