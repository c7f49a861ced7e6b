--TEST--
A bad value at startup is reported, and the default is used
--INI--
kqueue.timeout_ms=soon
kqueue.pool_max_connections=0
--FILE--
<?php
var_dump(ini_get('kqueue.timeout_ms'), ini_get('kqueue.pool_max_connections'));
?>
--EXPECTF--
Warning: PHP Startup: kqueue.timeout_ms must be an integer between 1 and 600000; the default is used in Unknown on line 0

Warning: PHP Startup: kqueue.pool_max_connections must be an integer between 1 and 10000; the default is used in Unknown on line 0
string(4) "1000"
string(1) "8"
