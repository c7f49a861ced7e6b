--TEST--
A handler of the program is called as ever, and the loop ends after the item
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
        pcntl_async_signals($argc > 2);
        $stop = false;
        pcntl_signal(SIGTERM, function () use (&$stop) { $stop = true; echo "told\n"; });
        $q = new KQueue($argv[1]);
        do {
            $q->consume('jobs', function ($message) {
                echo "holding {$message->getBody()}\n";
                exec('kill ' . getmypid());
                echo "finishing {$message->getBody()}\n";
            });
            pcntl_signal_dispatch();
        } while (!$stop);
        echo "stopped\n";
        PHP, '--', $server->address()],
    [['pipe', 'r'], ['pipe', 'w']],
    $pipes
);

echo stream_get_contents($pipes[1]);
var_dump(proc_close($worker));
var_dump($q->size('jobs'));
?>
--EXPECT--
holding a
finishing a
told
stopped
int(0)
int(1)
