--TEST--
An item that is not settled goes back when its variable is overwritten
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('jobs', ['a', 'b']);
foreach ($q->messages(['jobs']) as $message) {
    echo $message->getBody(), ' ', $message->getAttempts(), "\n";
    if ($message->getAttempts() > 1) {
        $message->ack();
    }
}
unset($message);
var_dump($q->size('jobs'));
?>
--EXPECT--
a 1
b 1
a 2
b 2
int(0)
