--TEST--
A lease that ended in the handler is told by an exception, and the item belongs to another one
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$server = Server::start("[queues.jobs]\nopen_transaction_timeout = \"200ms\"");
$q = new KQueue($server->address());
$q->push('jobs', 'slow');
try {
    $q->consume('jobs', function () use ($server) {
        (new KQueue($server->address(), ['persistent' => false]))->pop('jobs', 10.0);
    });
} catch (KQueueLostException $e) {
    echo get_class($e), "\n";
}
var_dump($q->size('jobs'));
?>
--EXPECT--
KQueueLostException
int(0)
