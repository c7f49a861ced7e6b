--TEST--
A server killed between two calls is not noticed; what it held is there when it is back
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$servers = [Server::start(), Server::start()];
$addresses = array_map(fn ($server) => $server->address(), $servers);
$q = new KQueue($addresses, ['eject_time' => 0.05]);
foreach ($servers as $number => $server) {
    (new KQueue($server->address()))->push('q', "kept $number");
}
$q->ping();
$servers[0]->kill();
for ($i = 0; $i < 10; $i++) {
    $q->push('new', "b$i");
}
var_dump($servers[1]->stat('queue_new_items'), $q->pop('q'), $q->ping()[$addresses[0]]);
$servers[0]->boot();
var_dump($q->pop('q', 10.0), is_float($q->ping()[$addresses[0]]));
?>
--EXPECT--
string(2) "10"
string(6) "kept 1"
NULL
string(6) "kept 0"
bool(true)
