--TEST--
ping and stats are keyed by the addresses as they were given
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$dead = '127.0.0.1:' . free_port();
$q = new KQueue([$server->address(), $dead]);
$q->push('jobs', 'b');
$ping = $q->ping();
var_dump(array_keys($ping) === [$server->address(), $dead], is_float($ping[$server->address()]) && $ping[$server->address()] > 0, $ping[$dead]);
$stats = $q->stats();
var_dump(array_keys($stats) === [$server->address(), $dead], $stats[$server->address()]['server']['queue_jobs_items'], is_string($stats[$server->address()]['server']['version']));
var_dump(array_keys($stats[$dead]['client']), is_string($stats[$dead]['client']['last_error']));
?>
--EXPECT--
bool(true)
bool(true)
NULL
bool(true)
int(1)
bool(true)
array(7) {
  [0]=>
  string(5) "state"
  [1]=>
  string(14) "refuses_pushes"
  [2]=>
  string(8) "extended"
  [3]=>
  string(16) "idle_connections"
  [4]=>
  string(6) "opened"
  [5]=>
  string(6) "errors"
  [6]=>
  string(10) "last_error"
}
bool(true)
