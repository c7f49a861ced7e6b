--TEST--
exit() in a signal handler while an item is held gives the item back
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
echo run_php(<<<'PHP'
    $q = new KQueue($argv[1]);
    pcntl_async_signals(true);
    pcntl_signal(SIGALRM, function () { echo "leaving\n"; exit(7); });
    $message = $q->reserve('q');
    pcntl_alarm(1);
    $q->reserve('other', 600.0);
    echo "not reached\n";
    PHP, [$server->address()]);
var_dump($q->reserve('q', 10.0)->getAttempts());
?>
--EXPECT--
leaving
int(2)
