--TEST--
reserveMany collects from all servers, and waits only if all are empty
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$other = Server::start();
(new KQueue($server->address()))->pushMany('jobs', ['a', 'b']);
(new KQueue($other->address()))->pushMany('jobs', ['c', 'd']);
$both = new KQueue([$server->address(), $other->address()]);
$bodies = array_map(fn ($message) => $message->getBody(), $messages = $both->reserveMany('jobs', 10, 600.0));
sort($bodies);
echo implode(' ', $bodies), "\n";
foreach ($messages as $message) {
    $message->ack();
}
var_dump($both->size('jobs'));
?>
--EXPECT--
a b c d
int(0)
