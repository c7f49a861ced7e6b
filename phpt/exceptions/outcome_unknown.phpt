--TEST--
A push that was sent and not answered says so with its code
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
// Answers like a Kestrel, which does not know "capabilities", and falls silent after the put.
$fake = new FakeServer(<<<'PHP'
    while (($line = fgets($connection)) !== false) {
        if (str_starts_with($line, 'capabilities') || str_starts_with($line, 'version')) {
            fwrite($connection, "ERROR\r\n");
        } else {
            fgets($connection);
        }
    }
    PHP);
$q = new KQueue($fake->address(), ['timeout' => 0.5, 'retries' => 0, 'retry_mode' => 'never']);
try {
    $q->push('q', 'b');
} catch (KQueueTimeoutException $e) {
    var_dump($e->getCode());
}
?>
--EXPECT--
int(1)
