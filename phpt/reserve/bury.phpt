--TEST--
A buried item is a dead letter, with its reason
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$id = $q->push('jobs', 'bad');
$message = $q->reserve('jobs');
$message->bury("cannot parse\r\nline 1");
var_dump($message->isSettled(), $q->reserve('jobs'));
$dead = fn () => rawurldecode(preg_replace('/^FOUND.* reason=(\S*)\r.*/s', '$1', $server->raw("browse jobs dead 10\r\n", "END\r\n")));
echo $dead(), "\n";
outcome(fn () => $message->bury());
echo $server->raw("kick jobs all\r\n", "\n");
$message = $q->reserve('jobs');
var_dump($message->getId() === $id, $message->getAttempts());
$message->bury(str_repeat('é', 600));
var_dump($dead() === str_repeat('é', 512));
outcome(fn () => $q->reserve('jobs')?->bury([]));
?>
--EXPECT--
bool(true)
NULL
cannot parse
line 1
KQueueLostException: this message is no longer held: it was settled, returned or lost before
OK 1
bool(true)
int(1)
bool(true)
returned NULL
