--TEST--
pushMany takes generators, iterators and aggregates
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$generator = (function () {
    yield 'one' => 'a';
    yield 'two' => 'b';
})();
var_dump(array_keys($q->pushMany('q', $generator)));
var_dump(array_keys($q->pushMany('q', new ArrayIterator(['c', 'd']))));
var_dump(array_keys($q->pushMany('q', new ArrayObject(['k' => 'e']))));
while (($body = $q->pop('q')) !== null) {
    echo $body;
}
echo "\n";
outcome(fn () => $q->pushMany('q', $generator));
?>
--EXPECT--
array(2) {
  [0]=>
  string(3) "one"
  [1]=>
  string(3) "two"
}
array(2) {
  [0]=>
  int(0)
  [1]=>
  int(1)
}
array(1) {
  [0]=>
  string(1) "k"
}
abcde
Exception: Cannot traverse an already closed generator
