--TEST--
reserveMany takes up to $max at once, and each is settled by itself
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('jobs', range(1, 7));
$messages = $q->reserveMany('jobs', 5);
echo implode(' ', array_map(fn ($message) => $message->getBody(), $messages)), "\n";
var_dump(array_is_list($messages), count($q->reserveMany('jobs', PHP_INT_MAX)));
$messages[1]->ack();
$messages[3]->ack();
unset($messages[4]);
var_dump($messages[0]->isSettled());
$messages = null;
foreach ($q->reserveMany(['none', 'jobs'], 100) as $message) {
    echo $message->getBody(), ' ', $message->getAttempts(), ', ';
    $message->ack();
}
echo "\n";
var_dump($q->reserveMany('jobs', 1), current($q->stats())['client']['opened'] <= 3);
?>
--EXPECT--
1 2 3 4 5
bool(true)
int(2)
bool(false)
1 2, 3 2, 5 2, 6 2, 7 2, 
array(0) {
}
bool(true)
