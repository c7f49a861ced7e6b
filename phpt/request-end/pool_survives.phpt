--TEST--
One connection serves many requests of a process
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
require __DIR__ . '/../utils/web.inc';
$server = Server::start();
$web = new Web($server->address(), ['push' => <<<'PHP'
    $q->push('q', 'b');
    echo current($q->stats())['client']['opened'];
    PHP]);
for ($i = 0; $i < 5; $i++) {
    echo $web->get('push'), ' ';
}
?>
--EXPECT--
1 1 1 1 1 
