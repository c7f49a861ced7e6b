--TEST--
pushMany into a queue that fills up says which items were stored
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start("[queues.\"q\"]\nmax_items = 2");
$q = new KQueue($server->address());
try {
    $q->pushMany('q', ['a' => '1', 'b' => '2', 'c' => '3', 9 => '4']);
} catch (KQueuePushException $e) {
    var_dump(array_keys($e->getStored()), $e->getFailed(), $q->reserve('q')->getId() === $e->getStored()['a']);
}
?>
--EXPECT--
array(2) {
  [0]=>
  string(1) "a"
  [1]=>
  string(1) "b"
}
array(2) {
  [0]=>
  string(1) "c"
  [1]=>
  int(9)
}
bool(true)
