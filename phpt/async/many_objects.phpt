--TEST--
Objects that are gone with pushes that nobody asked about do not keep a connection each
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$before = count(scandir('/proc/self/fd'));
for ($i = 0; $i < 200; $i++) {
    (new KQueue($server->address()))->pushAsync('jobs', (string) $i);
}
var_dump(count(scandir('/proc/self/fd')) - $before < 20);
// At most the last ones are still on their way.
$kept = new KQueue($server->address());
for ($i = 0; $i < 50 && $kept->size('jobs') < 200; $i++) {
    usleep(20000);
}
var_dump($kept->size('jobs'));

// What fails is told in the log then, or at the end.
$log = tempnam(sys_get_temp_dir(), 'kqueue');
$code = 'ini_set("error_log", $argv[2]); for ($i = 0; $i < 30; $i++) { (new KQueue($argv[1]))->pushAsync("jobs", "x"); } echo "pushed\n";';
echo run_php($code, ['127.0.0.1:' . free_port(), $log]);
$lines = file_get_contents($log);
var_dump(substr_count($lines, ': 1 of 1 items were not stored'), str_contains($lines, 'of pushAsync(), by an object that is gone: 1 of 1'));
unlink($log);
?>
--EXPECT--
bool(true)
int(200)
pushed
int(30)
bool(true)
