--TEST--
A child that just exits gives back nothing of its parent's
--EXTENSIONS--
pcntl
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('q', 'b');
$message = $q->reserve('q');
for ($i = 0; $i < 3; $i++) {
    $child = pcntl_fork();
    if ($child === 0) {
        exit(0);
    }
    pcntl_waitpid($child, $status);
}
var_dump($server->stat('queue_q_open_transactions'), $message->isSettled());
$message->ack();
$q->push('q', 'still usable');
var_dump($q->pop('q'));
?>
--EXPECT--
string(1) "1"
bool(false)
string(12) "still usable"
