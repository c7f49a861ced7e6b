--TEST--
A KQueue is not cloned, not serialized, has no dynamic properties
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$q = new KQueue();
outcome(fn () => clone $q);
outcome(fn () => serialize($q));
outcome(function () use ($q) { $q->servers = 'x'; });
var_dump($q);
?>
--EXPECTF--
Error: Trying to clone an uncloneable object of class KQueue
Exception: Serialization of 'KQueue' is not allowed
Error: Cannot create dynamic property KQueue::$servers
object(KQueue)#%d (0) {
}
