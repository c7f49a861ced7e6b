--TEST--
A push to a queue reaches its children
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('posts+mail', 'makes the child');
$q->pop('posts+mail');
$id = $q->push('posts', 'b');
$a = $q->reserve('posts');
$b = $q->reserve('posts+mail');
var_dump($a->getBody(), $a->getQueue(), $b->getBody(), $b->getQueue());
?>
--EXPECT--
string(1) "b"
string(5) "posts"
string(1) "b"
string(10) "posts+mail"
