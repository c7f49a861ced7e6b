--TEST--
No server reachable: KQueueConnectionException names every address
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$a = '127.0.0.1:' . free_port();
$b = '127.0.0.1:' . free_port();
$q = new KQueue("$a,$b", ['retries' => 0]);
foreach (['push' => ['q', 'b'], 'pop' => ['q'], 'reserve' => ['q'], 'size' => ['q'], 'peek' => ['q']] as $method => $arguments) {
    try {
        $q->$method(...$arguments);
        echo "$method returned\n";
    } catch (KQueueConnectionException $e) {
        echo $method, ' ', get_class($e), ' ', $e->getCode(), ' ', str_contains($e->getMessage(), $a) && str_contains($e->getMessage(), $b) ? 'names both' : $e->getMessage(), "\n";
    }
}
?>
--EXPECT--
push KQueueConnectionException 0 names both
pop KQueueConnectionException 0 names both
reserve KQueueConnectionException 0 names both
size KQueueConnectionException 0 names both
peek KQueueConnectionException 0 names both
