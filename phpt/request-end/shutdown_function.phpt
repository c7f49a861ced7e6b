--TEST--
A shutdown function can still settle, also after a fatal error
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
require __DIR__ . '/../utils/web.inc';
$server = Server::start();
$web = new Web($server->address(), ['take' => <<<'PHP'
    $q->push('q', 'b');
    $message = $q->reserve('q');
    register_shutdown_function(function () use ($message) { $message->ack(); echo 'acknowledged'; });
    nonexistent();
    PHP]);
echo substr($web->get('take'), -12), "\n";
var_dump($server->stat('queue_q_items'), $server->stat('queue_q_open_transactions'));
?>
--EXPECT--
acknowledged
string(1) "0"
string(1) "0"
