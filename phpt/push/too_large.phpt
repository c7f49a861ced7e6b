--TEST--
A body above the server's limit is refused, and the connection stays usable
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start('', 'max_item_size = "64KiB"');
$q = new KQueue($server->address());
try {
    $q->push('q', str_repeat('x', 100000));
} catch (KQueueServerException $e) {
    echo "refused\n";
}
$q->push('q', 'small');
var_dump($q->size('q'), $q->pop('q'));
?>
--EXPECT--
refused
int(1)
string(5) "small"
