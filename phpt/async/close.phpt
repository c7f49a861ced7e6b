--TEST--
close() awaits the answers first, and throws after it has closed
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushAsync('q', 'a');
$q->close();
var_dump($server->stat('queue_q_items'), $q->sync());
$server = Server::start("[queues.full]\nmax_items = 0");
$q = new KQueue($server->address());
$q->push('q', 'x');
$message = $q->reserve('q');
$q->pushAsync('full', 'a');
try {
    $q->close();
} catch (KQueuePushException $e) {
    var_dump($e->getFailed(), $server->stat('queue_q_open_transactions'));
}
?>
--EXPECT--
string(1) "1"
int(0)
array(1) {
  [0]=>
  int(0)
}
string(1) "0"
