--TEST--
reserve and pop wait for an item that another process pushes
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
// The producer pushes when it sees that somebody waits.
$producer = proc_open([PHP_BINARY, '-n', '-d', 'pcre.jit=0', '-r', <<<'PHP'
    require $argv[1];
    $raw = stream_socket_client("tcp://{$argv[2]}");
    foreach (['one', 'two'] as $body) {
        do {
            fwrite($raw, "stats\r\n");
            for ($stats = ''; !str_ends_with($stats, "END\r\n"); $stats .= fgets($raw));
        } while (!preg_match('/queue_q_waiters 1\r/', $stats));
        fwrite($raw, "set q 0 0 3\r\n$body\r\n");
        fgets($raw);
    }
    PHP, '--', __DIR__ . '/../utils/server.inc', $server->address()], [], $pipes);
$message = $q->reserve(['other', 'q'], 30.0);
var_dump($message->getBody());
$message->ack();
var_dump($q->pop('q', 30.0));
proc_close($producer);
?>
--EXPECT--
string(3) "one"
string(3) "two"
