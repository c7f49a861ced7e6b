--TEST--
Without async signals waiting goes on, and the handler runs at the dispatch
--EXTENSIONS--
pcntl
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$handled = false;
pcntl_signal(SIGALRM, function () use (&$handled) { $handled = true; });
// The producer pushes when the alarm has certainly come.
$producer = proc_open(['sh', '-c', 'sleep 2; exec "$0" "$@"', PHP_BINARY, '-n', '-r', <<<'PHP'
    $raw = stream_socket_client("tcp://{$argv[1]}");
    fwrite($raw, "set q 0 0 1\r\nb\r\n");
    fgets($raw);
    PHP, '--', $server->address()], [], $pipes);
pcntl_alarm(1);
$message = $q->reserve('q', 60.0);
var_dump($message->getBody(), $handled);
pcntl_signal_dispatch();
var_dump($handled);
proc_close($producer);
?>
--EXPECT--
string(1) "b"
bool(false)
bool(true)
