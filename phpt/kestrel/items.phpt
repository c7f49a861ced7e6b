--TEST--
A server that only speaks Kestrel's commands: put, take, settle
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
require __DIR__ . '/../utils/kestrel.inc';
$server = new Kestrel();
$q = new KQueue($server->address());
$ids = [$q->push('jobs', "a\r\nEND\r\n"), $q->push('jobs', '', 60), ...$q->pushMany('jobs', ['c', 'd'])];
var_dump(count(array_unique($ids)), in_array('', $ids, true), $q->size('jobs'), $q->peek('jobs'), $q->pop('jobs'));
$message = $q->reserve(['none', 'jobs'], 0.0, 60.0);
var_dump($message->getQueue(), $message->getBody(), $message->getId() !== '', $message->getAttempts(), $message->getAge() < 60);
$message->release();
$message = $q->reserve('jobs');
var_dump($message->getBody());
$message->ack();
outcome(fn () => $message->ack());
var_dump(current($q->stats())['client']['extended'], is_float(current($q->ping())));
$q->purge('jobs');
$q->delete('jobs');
var_dump($q->size('jobs'), $q->reserve('jobs', 0.05));
?>
--EXPECT--
int(4)
bool(false)
int(4)
string(8) "a
END
"
string(8) "a
END
"
string(4) "jobs"
string(0) ""
bool(true)
int(1)
bool(true)
string(0) ""
KQueueLostException: this message is no longer held: it was settled, returned or lost before
bool(false)
bool(true)
int(0)
NULL
