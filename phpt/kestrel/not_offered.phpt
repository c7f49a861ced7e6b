--TEST--
What Kestrel's commands cannot say is told clearly, and leaves the item in hand
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
require __DIR__ . '/../utils/kestrel.inc';
$server = new Kestrel();
$q = new KQueue($server->address());
$q->push('jobs', 'a');
$message = $q->reserve('jobs');
outcome(fn () => $message->release(1.0));
outcome(fn () => $message->bury('bad'));
outcome(fn () => $message->touch(5.0));
var_dump($message->isSettled());
$message->release(0.0);
var_dump($q->reserve('jobs')->getBody());
?>
--EXPECTF--
KQueueServerException: release of an item of queue "jobs" failed: 127.0.0.1:%d does not offer this, so the item stays held: settle it otherwise
KQueueServerException: bury of an item of queue "jobs" failed: 127.0.0.1:%d does not offer this, so the item stays held: settle it otherwise
returned NULL
bool(false)
string(1) "a"
