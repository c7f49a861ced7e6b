--TEST--
Items are taken from all living servers
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$servers = [Server::start(), Server::start()];
$q = new KQueue(array_map(fn ($server) => $server->address(), $servers));
foreach ($servers as $number => $server) {
    (new KQueue($server->address()))->pushMany('q', ["$number a", "$number b"]);
}
var_dump($q->size('q'));
$bodies = [];
while ($message = $q->reserve('q')) {
    $bodies[] = $message->getBody();
    $message->ack();
}
while (($body = $q->pop('q')) !== null) {
    $bodies[] = $body;
}
sort($bodies);
echo implode(', ', $bodies), "\n";
?>
--EXPECT--
int(4)
0 a, 0 b, 1 a, 1 b
