--TEST--
ini_set accepts good values
--FILE--
<?php
$good = [
    'kqueue.servers' => 'h1:1,h2:2', 'kqueue.connect_timeout_ms' => '1', 'kqueue.timeout_ms' => '600000', 'kqueue.retries' => '0',
    'kqueue.retry_mode' => 'never', 'kqueue.failover' => 'ordered',
];
foreach ($good as $name => $value) {
    var_dump(ini_set($name, $value) !== false && ini_get($name) === $value);
}
?>
--EXPECT--
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
