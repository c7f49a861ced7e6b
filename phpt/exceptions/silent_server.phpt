--TEST--
A server that accepts and never answers: KQueueTimeoutException, outcome of a push unknown
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$fake = new FakeServer('');
$q = new KQueue($fake->address(), ['timeout' => 0.3, 'retries' => 0, 'retry_mode' => 'never']);
try {
    $q->push('q', 'b');
} catch (KQueueTimeoutException $e) {
    echo get_class($e), str_contains($e->getMessage(), $fake->address()) ? ' names the server' : $e->getMessage(), "\n";
}
?>
--EXPECT--
KQueueTimeoutException names the server
