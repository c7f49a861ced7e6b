--TEST--
After break everything not settled is back in its place
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('jobs', ['a', 'b', 'c']);
foreach ($q->messages('jobs', 5.0) as $message) {
    break;
}
unset($message);
foreach ($q->reserveMany('jobs', 9) as $message) {
    echo $message->getBody(), ' ', $message->getAttempts(), "\n";
}
?>
--EXPECT--
a 2
b 1
c 1
