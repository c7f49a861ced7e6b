--TEST--
With async signals the program's handler runs at once, in the middle of the item
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
        pcntl_async_signals(true);
        $stop = false;
        pcntl_signal(SIGTERM, function () use (&$stop) { $stop = true; echo "told\n"; });
        $q = new KQueue($argv[1]);
        while (!$stop) {
            $q->consume('jobs', function ($message) {
                echo "holding {$message->getBody()}\n";
                exec('kill ' . getmypid());
                echo "finishing {$message->getBody()}\n";
            });
        }
        // Outside of the loop the program's handler is in its place.
        exec('kill ' . getmypid());
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
told
finishing a
told
stopped
int(0)
int(1)
