--TEST--
memory_limit while a body is handed to the program: everything goes back
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
(new KQueue($server->address()))->pushMany('q', array_fill(0, 8, str_repeat('x', 900000)));
$web = new Web($server->address(), [
    'take' => <<<'PHP'
        ini_set('memory_limit', '4M');
        $held = [];
        while ($held[] = $q->reserve('q'));
        echo 'not reached';
        PHP,
    'look' => <<<'PHP'
        $message = $q->reserve('q');
        echo strlen($message->getBody());
        $message->ack();
        PHP,
]);
for ($i = 0; $i < 3; $i++) {
    var_dump(str_contains($web->get('take'), 'Allowed memory size'), $server->stat('queue_q_items'), $server->stat('queue_q_open_transactions'));
}
var_dump($web->get('look'), $server->stat('queue_q_items'));
?>
--EXPECT--
bool(true)
string(1) "8"
string(1) "0"
bool(true)
string(1) "8"
string(1) "0"
bool(true)
string(1) "8"
string(1) "0"
string(6) "900000"
string(1) "7"
