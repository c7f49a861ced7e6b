--TEST--
After its lease an item goes back; settling it then is a KQueueLostException
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('q', 'b');
$message = $q->reserve('q', 0.0, 0.05);
echo $server->await('queue_q_items', '1'), "\n";
try {
    $message->ack();
} catch (KQueueLostException $e) {
    echo get_class($e), "\n";
}
var_dump($message->isSettled(), $q->reserve('q')->getAttempts());
?>
--EXPECT--
1
KQueueLostException
bool(true)
int(2)
