--TEST--
pushAsync sends at once, sync() counts, and all is there in order
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushAsync('q', 'first');
var_dump($server->await('queue_q_items', '1'));
for ($i = 0; $i < 3000; $i++) {
    $q->pushAsync('q', "$i");
}
var_dump($q->sync(), $q->sync());
var_dump($q->pop('q'));
for ($i = 0; $i < 3000; $i++) {
    $body = $q->pop('q');
    if ($body !== "$i") {
        die("$body instead of $i");
    }
}
var_dump($q->pop('q'), current($q->stats())['client']['opened']);
?>
--EXPECT--
string(1) "1"
int(3001)
int(0)
string(5) "first"
NULL
int(1)
