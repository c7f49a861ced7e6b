--TEST--
Several items at once, pushes without waiting, loops, on a server that only speaks Kestrel's commands
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
require __DIR__ . '/../utils/kestrel.inc';
$server = new Kestrel();
$q = new KQueue($server->address());
for ($i = 0; $i < 500; $i++) {
    $q->pushAsync('jobs', "$i");
}
var_dump($q->sync());
$messages = $q->reserveMany('jobs', 100);
echo implode(' ', array_map(fn ($message) => $message->getBody(), $messages)), "\n";
$messages[0]->ack();
$messages = null;
var_dump($q->consume('jobs', function ($message) { echo $message->getBody(), ' '; }, 9));
foreach ($q->messages('jobs') as $message) {
    $message->ack();
}
var_dump($message->getBody(), $q->size('jobs'));
?>
--EXPECT--
int(500)
0 1 2 3 4 5 6 7
1 2 3 4 5 6 7 8 9 int(9)
string(3) "499"
int(0)
