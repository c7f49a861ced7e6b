--TEST--
A worker killed with an item in its hands delays nothing
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('q', 'b');
$worker = proc_open(
    [PHP_BINARY, '-n', '-d', 'extension=' . getenv('KQUEUE_EXTENSION'), '-r', <<<'PHP'
        $message = (new KQueue($argv[1]))->reserve('q');
        echo "holding {$message->getBody()}\n";
        fgets(STDIN);
        PHP, '--', $server->address()],
    [['pipe', 'r'], ['pipe', 'w']],
    $pipes
);
echo fgets($pipes[1]);
proc_terminate($worker, 9);
proc_close($worker);
$message = $q->reserve('q', 10.0);
var_dump($message->getBody(), $message->getAttempts());
?>
--EXPECT--
holding b
string(1) "b"
int(2)
