--TEST--
A full queue: KQueueFullException, which is a KQueueServerException
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start("[queues.\"q\"]\nmax_items = 1");
$q = new KQueue($server->address());
$q->push('q', 'first');
try {
    $q->push('q', 'second');
} catch (KQueueServerException $e) {
    echo get_class($e), ' ', $e->getCode(), "\n";
}
var_dump($q->size('q'));
?>
--EXPECT--
KQueueFullException 0
int(1)
