--TEST--
At the end of the request, what a dead server did not store goes to a living one
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
require __DIR__ . '/../utils/web.inc';
$server = Server::start();
$q = new KQueue($server->address());
$other = Server::start();
$pid = $server->pid();
$web = new Web("{$server->address()},{$other->address()}", [
    'push' => <<<PHP
        \$q = new KQueue('{$server->address()},{$other->address()}', ['failover' => 'ordered']);
        \$q->pushAsync('q', 'first');
        \$q->sync();
        exec('kill -STOP $pid');
        \$q->pushAsync('q', 'second');
        echo 'done';
        PHP,
], ['kqueue.timeout_ms' => '300']);
echo $web->get('push'), "\n";
var_dump($other->stat('queue_q_items'));
?>
--EXPECT--
done
string(1) "1"
