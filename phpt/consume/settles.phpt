--TEST--
What the handler settles itself is left alone
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('jobs', ['ack', 'release', 'bury', 'touch']);
echo $q->consume('jobs', function ($message) {
    $do = $message->getBody();
    if ($message->getAttempts() === 1) {
        $message->$do();
    }
}, 0, 0.0), " handled\n";
var_dump($q->size('jobs'), $server->stat('queue_jobs_open_transactions'));
echo strtok($server->raw("browse jobs dead 10\r\n", "END\r\n"), "\n"), "\n";
?>
--EXPECTF--
5 handled
int(0)
string(1) "0"
FOUND jobs %d dead 4 %s
