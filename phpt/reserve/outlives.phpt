--TEST--
A message outlives its KQueue object
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
foreach ([true, false] as $persistent) {
    $q = new KQueue($server->address(), ['persistent' => $persistent]);
    $q->push('q', 'b');
    $message = $q->reserve('q');
    unset($q);
    gc_collect_cycles();
    $message->ack();
    var_dump($server->stat('queue_q_items'), $server->stat('queue_q_open_transactions'));
}
?>
--EXPECT--
string(1) "0"
string(1) "0"
string(1) "0"
string(1) "0"
