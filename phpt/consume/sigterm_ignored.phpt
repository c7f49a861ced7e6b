--TEST--
A program that ignores SIGTERM is not stopped by it
--EXTENSIONS--
pcntl
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('jobs', ['a', 'b']);
$worker = proc_open(
    [PHP_BINARY, '-n', '-d', 'extension=' . getenv('KQUEUE_EXTENSION'), '-r', <<<'PHP'
        pcntl_signal(SIGTERM, SIG_IGN);
        $q = new KQueue($argv[1]);
        echo 'handled ', $q->consume('jobs', fn () => exec('kill ' . getmypid()), 0, 0.0), "\n";
        PHP, '--', $server->address()],
    [['pipe', 'r'], ['pipe', 'w']],
    $pipes
);

echo stream_get_contents($pipes[1]);
?>
--EXPECT--
handled 2
