--TEST--
A push goes to a living server, also when a dead one comes first
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$dead = '127.0.0.1:' . free_port();
$server = Server::start();
$q = new KQueue([$dead, $server->address()], ['failover' => 'ordered']);
for ($i = 0; $i < 5; $i++) {
    $q->push('q', "b$i");
}
var_dump($server->stat('queue_q_items'), $q->size('q'), $q->reserve('q')->getBody());
$stats = $q->stats();
var_dump($stats[$dead]['server'], $stats[$dead]['client']['state'], $stats[$server->address()]['client']['state']);
?>
--EXPECT--
string(1) "5"
int(5)
string(2) "b0"
NULL
string(4) "down"
string(2) "up"
