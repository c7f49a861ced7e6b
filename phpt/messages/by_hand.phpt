--TEST--
The iterator can be driven by hand, and goes forward only
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('jobs', ['a', 'b']);
$messages = $q->messages('jobs');
var_dump($messages instanceof Iterator, get_class($messages), $q->size('jobs'));
var_dump($messages->current()->getBody(), $messages->key(), $messages->valid());
$messages->rewind();
$messages->current()->ack();
$messages->next();
var_dump($messages->current()->getBody(), $messages->key());
outcome(fn () => $messages->rewind());
$messages->current()->ack();
$messages->next();
var_dump($messages->valid(), $messages->current(), $messages->key());
outcome(fn () => clone $messages);
outcome(fn () => serialize($messages));
outcome(fn () => new KQueue\Messages);
?>
--EXPECT--
bool(true)
string(15) "KQueue\Messages"
int(2)
string(1) "a"
int(0)
bool(true)
string(1) "b"
int(1)
Exception: Cannot rewind KQueue\Messages: taken items do not come again
bool(false)
NULL
NULL
Error: Trying to clone an uncloneable object of class KQueue\Messages
Exception: Serialization of 'KQueue\Messages' is not allowed
Error: Call to private KQueue\Messages::__construct() from global scope
