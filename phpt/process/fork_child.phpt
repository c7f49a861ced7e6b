--TEST--
A forked child does not touch its parent's connections or items
--EXTENSIONS--
pcntl
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('q', ['for the parent', 'for the child']);
$message = $q->reserve('q');
[$mine, $its] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
$child = pcntl_fork();
if ($child === 0) {
    $lost = 'settled';
    try {
        $message->ack();
    } catch (KQueueLostException) {
        $lost = 'lost';
    }
    $own = $q->reserve('q');
    $own->ack();
    ob_start();
    phpinfo(INFO_MODULES);
    preg_match('/^Connections opened => (\d+)/m', ob_get_clean(), $match);
    $opened = $match[1];
    fwrite($its, "$lost, {$own->getBody()}, opened $opened\n");
    exit(0);
}
echo fgets($mine);
pcntl_waitpid($child, $status);
var_dump($message->isSettled(), $server->stat('queue_q_open_transactions'));
$message->ack();
var_dump($server->stat('queue_q_items'), $server->stat('queue_q_open_transactions'), current($q->stats())['client']['opened']);
?>
--EXPECT--
lost, for the child, opened 1
bool(false)
string(1) "1"
string(1) "0"
string(1) "0"
int(1)
