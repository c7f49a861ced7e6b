--TEST--
If the server dies, its item is lost for this worker and there after the restart
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('q', 'b');
$message = $q->reserve('q');
$server->kill();
$server->boot();
try {
    $message->ack();
} catch (KQueueException $e) {
    echo $e instanceof KQueueLostException || $e instanceof KQueueConnectionException ? 'told' : get_class($e), "\n";
}
var_dump($message->isSettled(), $q->reserve('q')->getBody());
?>
--EXPECT--
told
bool(true)
string(1) "b"
