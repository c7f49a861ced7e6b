--TEST--
SIGTERM waits for the item in hand; what follows the loop is done; the next loop ends the process
--EXTENSIONS--
pcntl
--SKIPIF--
<?php
require __DIR__ . '/../utils/needs_server.inc';
if (getenv('USE_ZEND_ALLOC') === '0') {
    echo 'skip a process that a signal ends frees nothing, which valgrind calls a leak';
}
?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('jobs', ['a', 'b']);
$worker = proc_open(
    [PHP_BINARY, '-n', '-d', 'extension=' . getenv('KQUEUE_EXTENSION'), '-r', <<<'PHP'
        $q = new KQueue($argv[1]);
        $count = $q->consume('jobs', function ($message) {
            echo "holding {$message->getBody()}\n";
            fgets(STDIN);
            echo "finishing {$message->getBody()}\n";
        });
        echo "handled $count\n";
        $q->consume('jobs', fn () => print("not reached\n"));
        echo "not reached\n";
        PHP, '--', $server->address()],
    [['pipe', 'r'], ['pipe', 'w']],
    $pipes
);

echo fgets($pipes[1]);
proc_terminate($worker, SIGTERM);
fwrite($pipes[0], "go on\n");
echo stream_get_contents($pipes[1]);
while (($status = proc_get_status($worker))['running']) {
    usleep(1000);
}
var_dump($status['signaled'], $status['termsig'] === SIGTERM);
var_dump($q->reserveMany('jobs', 9)[0]->getBody(), $server->stat('queue_jobs_items'));
?>
--EXPECT--
holding a
finishing a
handled 1
bool(true)
bool(true)
string(1) "b"
string(1) "1"
