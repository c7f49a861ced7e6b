--TEST--
A released item comes again after its delay, with the same id; a delay out of range sends nothing
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$id = $q->push('jobs', 'later');
$message = $q->reserve('jobs');
foreach ([-1.0, 315360001.0, NAN] as $delay) {
    try {
        $message->release($delay);
    } catch (ValueError $e) {
        echo get_class($e), ': ', $e->getMessage(), "\n";
    }
}
var_dump($message->isSettled());
$message->release(0.2);
var_dump($message->isSettled(), $q->reserve('jobs'));
$again = $q->reserve('jobs', 10.0);
var_dump($again->getId() === $id, $again->getAttempts(), $again->getAge() >= 0.2);
$again->release(0.0);
var_dump($q->reserve('jobs')->getAttempts());
?>
--EXPECT--
ValueError: KQueue\Message::release(): Argument #1 ($delay) must be between 0 and 315360000 seconds
ValueError: KQueue\Message::release(): Argument #1 ($delay) must be between 0 and 315360000 seconds
ValueError: KQueue\Message::release(): Argument #1 ($delay) must be between 0 and 315360000 seconds
bool(false)
bool(true)
NULL
bool(true)
int(2)
bool(true)
int(3)
