--TEST--
ini_set refuses bad values and keeps the old one
--FILE--
<?php
$bad = [
    'kqueue.servers' => ['', 'h:', 'h:0', 'h:x'],
    'kqueue.connect_timeout_ms' => ['0', '-5', '1.5', '1s', '010', '', '99999999999999999999'],
    'kqueue.timeout_ms' => ['0', '-5', 'abc', '600001'],
    'kqueue.retries' => ['-1', '101', 'x'],
    'kqueue.retry_mode' => ['', 'sometimes', 'SAFE'],
    'kqueue.failover' => ['', 'round-robin'],
];
foreach ($bad as $name => $values) {
    $before = ini_get($name);
    foreach ($values as $value) {
        if (ini_set($name, $value) !== false) {
            echo "$name accepted $value\n";
        }
    }
    var_dump(ini_get($name) === $before);
}
?>
--EXPECT--
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
