--TEST--
Thousands of messages and generators leak nothing
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$round = function (int $times) use ($q) {
    for ($i = 0; $i < $times; $i++) {
        $q->pushMany('q', (fn () => yield 'k' => str_repeat('x', 100))());
        $q->reserve('q')->ack();
        try {
            $q->push('', 'b');
        } catch (ValueError) {
        }
    }
};
$round(50);
$before = memory_get_usage();
$round(1000);
echo memory_get_usage() - $before < 2000 ? 'constant' : memory_get_usage() - $before, "\n";
?>
--EXPECT--
constant
