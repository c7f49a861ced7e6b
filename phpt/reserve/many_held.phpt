--TEST--
Many messages may be held at once and settled in any order
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('q', range(1, 20));
$held = [];
while ($message = $q->reserve('q')) {
    $held[$message->getBody()] = $message;
}
var_dump(count($held));
foreach ([7, 20, 1] as $body) {
    $held[$body]->ack();
}
foreach ([19, 2, 10] as $body) {
    $held[$body]->release();
}
echo $q->reserve('q')->getBody(), ' ', $server->stat('queue_q_open_transactions'), "\n";
?>
--EXPECT--
int(20)
2 14
