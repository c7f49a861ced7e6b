--TEST--
The longest name, high bytes and children are good queue names
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
foreach ([str_repeat('x', 250), "caf\xe9", 'jobs+mail', '0', 'a:b'] as $name) {
    $q->push($name, 'b');
    var_dump($q->pop($name));
}
?>
--EXPECT--
string(1) "b"
string(1) "b"
string(1) "b"
string(1) "b"
string(1) "b"
