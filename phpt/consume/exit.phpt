--TEST--
exit() in the handler gives the item back at once
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('jobs', 'a');
echo run_php('(new KQueue($argv[1]))->consume("jobs", function ($message) { echo $message->getBody(), "\n"; exit; });', [$server->address()]);
var_dump($q->reserve('jobs')->getAttempts());
?>
--EXPECT--
a
int(2)
