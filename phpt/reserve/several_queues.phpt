--TEST--
Several queues are tried in the order given
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('low', 'l');
$q->push('high', 'h');
foreach ([1, 2, 3] as $turn) {
    $message = $q->reserve(['high', 'middle', 'low']);
    echo $message ? "{$message->getQueue()} {$message->getBody()}\n" : "nothing\n";
    $message?->ack();
}
?>
--EXPECT--
high h
low l
nothing
