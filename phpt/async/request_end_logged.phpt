--TEST--
What fails at the end of the request is in the error log
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$log = tempnam(sys_get_temp_dir(), 'kqueue');
$address = '127.0.0.1:' . free_port();
echo run_php('ini_set("error_log", $argv[2]); $q = new KQueue($argv[1]); $q->pushAsync("q", "x"); echo "pushed\n";', [$address, $log]);
echo file_get_contents($log);
unlink($log);
?>
--EXPECTF--
pushed
[%s] PHP Warning:  kqueue: at the end of the request, of pushAsync(): 1 of 1 items were not stored: push failed: 127.0.0.1:%d: connecting: %s
