--TEST--
Defaults and where they may be changed
--FILE--
<?php
foreach (ini_get_all('kqueue') as $name => $setting) {
    printf("%s = %s (%s)\n", $name, $setting['global_value'], [INI_ALL => 'all', INI_SYSTEM => 'system'][$setting['access']]);
}
?>
--EXPECT--
kqueue.connect_timeout_ms = 250 (all)
kqueue.failover = random (all)
kqueue.persistent = 1 (system)
kqueue.pool_max_connections = 8 (system)
kqueue.pool_max_idle_s = 60 (system)
kqueue.retries = 2 (all)
kqueue.retry_mode = safe (all)
kqueue.servers = 127.0.0.1:22133 (all)
kqueue.timeout_ms = 1000 (all)
