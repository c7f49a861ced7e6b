--TEST--
What a message tells, also after it is settled
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$id = $q->push('jobs', "body\0");
$message = $q->reserve('jobs');
$message->ack();
var_dump($message->getQueue(), $message->getBody() === "body\0", $message->getId() === $id, $message->getAttempts());
var_dump(is_float($message->getAge()), $message->getAge() >= 0.0 && $message->getAge() < 60.0);
?>
--EXPECT--
string(4) "jobs"
bool(true)
bool(true)
int(1)
bool(true)
bool(true)
