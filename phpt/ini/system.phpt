--TEST--
Pool settings cannot be changed by a program
--FILE--
<?php
foreach (['kqueue.persistent' => '0', 'kqueue.pool_max_idle_s' => '1', 'kqueue.pool_max_connections' => '1'] as $name => $value) {
    var_dump(ini_set($name, $value));
}
?>
--EXPECT--
bool(false)
bool(false)
bool(false)
