--TEST--
SIGTERM ends a loop that waits for an item
--EXTENSIONS--
pcntl
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$worker = proc_open(
    [PHP_BINARY, '-n', '-d', 'extension=' . getenv('KQUEUE_EXTENSION'), '-r', <<<'PHP'
        $q = new KQueue($argv[1]);
        echo "waiting\n";
        echo 'handled ', $q->consume('jobs', fn () => null, 0, 600.0), "\n";
        PHP, '--', $server->address()],
    [['pipe', 'r'], ['pipe', 'w']],
    $pipes
);

echo fgets($pipes[1]);
$server->await('queue_jobs_waiters', '1');
proc_terminate($worker, SIGTERM);
echo stream_get_contents($pipes[1]);
var_dump(proc_close($worker));
?>
--EXPECT--
waiting
handled 0
int(0)
