--TEST--
A signal ends the iteration, after its handlers
--EXTENSIONS--
pcntl
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
pcntl_async_signals(true);
pcntl_signal(SIGALRM, function () { echo "handled\n"; });
pcntl_alarm(1);
foreach ($q->messages('jobs', 600.0) as $message) {
    echo "not reached\n";
}
echo "over\n";
?>
--EXPECT--
handled
over
