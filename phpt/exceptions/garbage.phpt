--TEST--
A peer that does not speak the protocol: KQueueProtocolException
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$fake = new FakeServer('fwrite($connection, "HTTP/1.1 400 Bad Request\r\nServer: other\r\n\r\n");');
$q = new KQueue($fake->address(), ['timeout' => 2, 'retries' => 0]);
try {
    $q->push('q', 'b');
} catch (KQueueException $e) {
    echo get_class($e), "\n";
}
?>
--EXPECT--
KQueueProtocolException
