--TEST--
After memory_limit inside a generator that pushMany reads
--SKIPIF--
<?php
require __DIR__ . '/../utils/needs_server.inc';
require __DIR__ . '/../utils/needs_allocator.inc';
?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
require __DIR__ . '/../utils/web.inc';
$server = Server::start();
$web = new Web($server->address(), [
    'take' => <<<'PHP'
        $q->push('q', 'item of the request');
        $GLOBALS['message'] = $q->reserve('q');
        echo getmypid(), ' ';
        ini_set('memory_limit', '4M'); $q->pushMany('other', (function () { while (true) yield str_repeat('x', 65536); })());
        PHP,
    'look' => <<<'PHP'
        $again = $q->reserve('q');
        $again->ack();
        $opened = current($q->stats())['client']['opened'];
        echo getmypid(), " $opened ", $again->getBody(), ' attempt ', $again->getAttempts();
        PHP,
]);
$first = $web->get('take');
var_dump($server->stat('queue_q_open_transactions'), $server->stat('queue_q_items'));
[$pid, $opened, $rest] = explode(' ', $web->get('look'), 3);
var_dump(strtok($first, ' ') === $pid, $opened, $rest);
?>
--EXPECT--
string(1) "0"
string(1) "1"
bool(true)
string(1) "1"
string(29) "item of the request attempt 2"
