--TEST--
A delayed release is refused clearly and leaves the item reserved
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('q', 'b');
$message = $q->reserve('q');
outcome(fn () => $message->release(1.5));
outcome(fn () => $message->release(-1));
outcome(fn () => $message->release(NAN));
var_dump($message->isSettled());
$message->ack();
var_dump($q->size('q'), $server->stat('queue_q_open_transactions'));
?>
--EXPECTF--
KQueueServerException: %sdelay%s
ValueError: KQueue\Message::release(): Argument #1 ($delay) must be between 0 and 2147483 seconds
ValueError: KQueue\Message::release(): Argument #1 ($delay) must be between 0 and 2147483 seconds
bool(false)
int(0)
string(1) "0"
