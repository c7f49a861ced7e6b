--TEST--
phpinfo() shows the version, this process's counters and the settings
--FILE--
<?php
ob_start();
phpinfo(INFO_MODULES);
$section = strstr(ob_get_clean(), "\nkqueue\n");
foreach (['KQueue support', 'Version', 'This process', 'Connections opened', 'Items reserved now', 'kqueue.servers', 'kqueue.pool_max_connections'] as $row) {
    echo preg_match('/^' . preg_quote($row, '/') . ' => .+$/m', $section, $match) ? $match[0] : "no row $row", "\n";
}
?>
--EXPECTF--
KQueue support => enabled
Version => %d.%d.%d%S
This process => pid %d
Connections opened => 0
Items reserved now => 0
kqueue.servers => 127.0.0.1:22133 => 127.0.0.1:22133
kqueue.pool_max_connections => 8 => 8
