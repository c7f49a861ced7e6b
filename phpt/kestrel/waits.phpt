--TEST--
A waiting worker gets an item from a Kestrel promptly, and from whichever server has it
--EXTENSIONS--
pcntl
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
require __DIR__ . '/../utils/kestrel.inc';
$server = new Kestrel();
$q = new KQueue($server->address());
$child = pcntl_fork();
if ($child === 0) {
    usleep(100_000);
    (new KQueue($server->address()))->push('jobs', 'late');
    exit;
}
$real = Server::start();
$both = new KQueue([$real->address(), $server->address()]);
$message = $both->reserve(['none', 'jobs'], 600.0);
var_dump($message->getBody());
$message->ack();
pcntl_waitpid($child, $status);
$q->push('jobs', 'k');
(new KQueue($real->address()))->push('jobs', 's');
$bodies = [$both->pop('jobs'), $both->pop('jobs')];
sort($bodies);
echo implode(' ', $bodies), "\n";
?>
--EXPECT--
string(4) "late"
k s
