--TEST--
A fatal error in the handler gives the item back when the request ends
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
$q = new KQueue($server->address());
$q->pushMany('jobs', ['a', 'b']);
$web = new Web($server->address(), [
    'run' => '$q->consume("jobs", function ($message) { $GLOBALS["kept"] = $message; ini_set("memory_limit", "8M"); str_repeat("x", 100_000_000); });',
    'look' => 'echo $q->reserve("jobs")->getAttempts(), " ", current($q->stats())["client"]["opened"];',
]);
$web->get('run');
var_dump($server->stat('queue_jobs_open_transactions'), $server->stat('queue_jobs_items'));
echo $web->get('look'), "\n";
?>
--EXPECT--
string(1) "0"
string(1) "2"
2 1
