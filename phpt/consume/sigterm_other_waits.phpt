--TEST--
SIGTERM during consume() ends no other wait: neither the handler's own, nor what follows the loop
--EXTENSIONS--
pcntl
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
echo run_php(<<<'PHP'
    $q = new KQueue($argv[1]);
    $other = new KQueue($argv[1]);
    $q->push('jobs', 'job');
    $push_later = function () use ($argv) {
        $code = 'usleep(300000); (new KQueue($argv[1]))->push("replies", "reply");';
        proc_open([PHP_BINARY, '-n', '-d', 'extension=' . getenv('KQUEUE_EXTENSION'), '-r', $code, '--', $argv[1]], [], $pipes);
    };
    $handled = $q->consume('jobs', function ($message) use ($other, $push_later) {
        exec('kill -TERM ' . getmypid());
        $push_later();
        $reply = $other->reserve('replies', 30.0);
        var_dump($reply?->getBody());
        $reply?->ack();
    });
    var_dump($handled);
    $push_later();
    foreach ($q->messages('replies', 30.0) as $message) {
        var_dump($message->getBody());
        $message->ack();
        break;
    }
    PHP, [$server->address()]);
?>
--EXPECT--
string(5) "reply"
int(1)
string(5) "reply"
