--TEST--
A restarted server is not noticed by a pooled connection
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
foreach (['a', 'b', 'c'] as $body) {
    $q->push('q', $body);
    $server->kill();
    $server->boot();
}
var_dump($q->pop('q'), $q->pop('q'), $q->pop('q'));
?>
--EXPECT--
string(1) "a"
string(1) "b"
string(1) "c"
