--TEST--
A signal that arrives during a call that fails is not lost
--EXTENSIONS--
pcntl
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$fake = new FakeServer('');
$q = new KQueue($fake->address(), ['timeout' => 2.5, 'retries' => 0]);
pcntl_async_signals(true);
$handled = false;
pcntl_signal(SIGALRM, function () use (&$handled) { $handled = true; });
pcntl_alarm(1);
try {
    $q->push('q', 'b');
} catch (KQueueTimeoutException $e) {
    var_dump($handled);
}
?>
--EXPECT--
bool(true)
