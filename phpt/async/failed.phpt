--TEST--
sync() lists what was not stored by its place among the pushes
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$server = Server::start("[queues.q]\nmax_items = 2");
$q = new KQueue($server->address());
for ($i = 0; $i < 4; $i++) {
    $q->pushAsync('q', "$i");
}
try {
    $q->sync();
} catch (KQueuePushException $e) {
    var_dump(array_keys($e->getStored()), $e->getFailed(), $e->getCode());
    var_dump($e->getStored()[1] === $q->reserveMany('q', 5)[1]->getId());
}
$q->pushAsync('other', 'x');
var_dump($q->sync());
?>
--EXPECT--
array(2) {
  [0]=>
  int(0)
  [1]=>
  int(1)
}
array(2) {
  [0]=>
  int(2)
  [1]=>
  int(3)
}
int(0)
bool(true)
int(1)
