--TEST--
pushMany returns ids under the keys of the array, in order
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$ids = $q->pushMany('q', ['x' => 'a', 7 => 'b', '8' => 'c', '08' => 'd', -1 => 'e', '' => 'f']);
var_dump(array_keys($ids), count(array_unique($ids)), in_array('', $ids, true));
foreach ($ids as $id) {
    $message = $q->reserve('q');
    echo $message->getId() === $id ? $message->getBody() : 'other id', ' ';
    $message->ack();
}
var_dump($q->pushMany('q', []), $q->size('q'));
?>
--EXPECT--
array(6) {
  [0]=>
  string(1) "x"
  [1]=>
  int(7)
  [2]=>
  int(8)
  [3]=>
  string(2) "08"
  [4]=>
  int(-1)
  [5]=>
  string(0) ""
}
int(6)
bool(false)
a b c d e f array(0) {
}
int(0)
