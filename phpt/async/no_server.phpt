--TEST--
Without a server pushAsync keeps what it can, and sync() says what happened
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$q = new KQueue('127.0.0.1:' . free_port(), ['retries' => 0]);
$q->pushAsync('q', 'a');
$q->pushAsync('q', 'b');
try {
    $q->sync();
} catch (KQueuePushException $e) {
    echo $e->getMessage(), "\n";
    var_dump($e->getStored(), $e->getFailed(), $e->getCode());
}
for ($kept = 0; $kept < 100; $kept++) {
    try {
        $q->pushAsync('q', str_repeat('x', 1 << 20));
    } catch (KQueueConnectionException $e) {
        break;
    }
}
var_dump($kept > 7 && $kept < 50);
try {
    $q->sync();
} catch (KQueuePushException $e) {
    var_dump(count($e->getFailed()) === $kept);
}
?>
--EXPECTF--
2 of 2 items were not stored: push failed: 127.0.0.1:%d: connecting: %s
array(0) {
}
array(2) {
  [0]=>
  int(0)
  [1]=>
  int(1)
}
int(0)
bool(true)
bool(true)
