--TEST--
An item expires after its ttl
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start('', 'expiration_timer_frequency = "100ms"');
$q = new KQueue($server->address());
$q->push('q', 'short', 1);
$q->push('q', 'long', 3600);
$q->push('q', 'for ever');
var_dump($q->size('q'), $server->await('queue_q_items', '2'), $q->pop('q'), $q->pop('q'), $q->pop('q'));
?>
--EXPECT--
int(3)
string(1) "2"
string(4) "long"
string(8) "for ever"
NULL
