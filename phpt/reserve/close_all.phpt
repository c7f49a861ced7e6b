--TEST--
closeAll returns everything and closes the process's connections
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('q', 'b');
$message = $q->reserve('q');
KQueue::closeAll();
var_dump($message->isSettled(), $server->await('curr_connections', '1'), $q->pop('q'));
?>
--EXPECT--
bool(true)
string(1) "1"
string(1) "b"
