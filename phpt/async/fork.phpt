--TEST--
A forked child neither sends nor awaits what its parent pushed
--EXTENSIONS--
pcntl
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushAsync('q', 'parent');
$server->await('queue_q_items', '1');
$child = pcntl_fork();
if ($child === 0) {
    var_dump($q->sync());
    $q->pushAsync('q', 'child');
    var_dump($q->sync());
    exit;
}
pcntl_waitpid($child, $status);
var_dump($q->sync(), $server->stat('queue_q_items'));
?>
--EXPECT--
int(0)
int(1)
int(1)
string(1) "2"
