--TEST--
A memory limit that is met while the objects are made gives all items back
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
$q->pushMany('jobs', array_fill(0, 50, str_repeat('x', 500_000)));
$web = new Web($server->address(), [
    'take' => 'ini_set("memory_limit", "8M"); $GLOBALS["m"] = []; for (;;) { $GLOBALS["m"][] = $q->reserveMany("jobs", 50); }',
    'alive' => 'echo "alive";',
]);
$web->get('take');
var_dump($server->await('queue_jobs_open_transactions', '0'), $server->stat('queue_jobs_items'), $web->get('alive'));
?>
--EXPECT--
string(1) "0"
string(2) "50"
string(5) "alive"
