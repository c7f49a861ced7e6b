--TEST--
What was pushed without waiting is stored when the request has ended, however it ends
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
require __DIR__ . '/../utils/web.inc';
$server = Server::start();
$q = new KQueue($server->address());
$web = new Web($server->address(), [
    'normal' => '$q->pushAsync("q", "a");',
    'gone' => '$q->pushAsync("q", "b"); $q = null;',
    'exit' => '$q->pushAsync("q", "c"); exit;',
    'fatal' => '$q->pushAsync("q", "d"); nonexistent();',
    'memory' => '$q->pushAsync("q", "e"); ini_set("memory_limit", "8M"); $x = str_repeat("x", 100_000_000);',
    'destructor' => 'class D { function __construct(public $q) {} function __destruct() { $this->q->pushAsync("q", "f"); } } $d = new D($q);',
    'opened' => 'echo current($q->stats())["client"]["opened"];',
]);
foreach (['normal', 'gone', 'exit', 'fatal', 'memory', 'destructor'] as $name) {
    $web->get($name);
    echo $server->stat('queue_q_items'), ' ';
}
while (null !== $body = $q->pop('q')) {
    echo $body;
}
echo ' over ', $web->get('opened'), " connection\n";
?>
--EXPECT--
1 2 3 4 5 6 abcdef over 1 connection
