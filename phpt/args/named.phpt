--TEST--
Named arguments, skipping optional ones
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue(options: ['timeout' => 5], servers: $server->address());
$q->push(body: 'b', queue: 'q');
var_dump($q->reserve('q', lease: 30.0)->getBody());
outcome(fn () => $q->push('q', 'b', priority: 1));
?>
--EXPECT--
string(1) "b"
Error: Unknown named parameter $priority
