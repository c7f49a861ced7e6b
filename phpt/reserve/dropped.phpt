--TEST--
A message that is dropped unsettled goes back at once
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('q', 'b');
$message = $q->reserve('q');
unset($message);
var_dump($server->stat('queue_q_open_transactions'), $server->stat('queue_q_items'));
function handle(KQueue $q): void
{
    $local = $q->reserve('q');
    throw new DomainException($local->getBody());
}
try {
    handle($q);
} catch (DomainException $e) {
    $e = null; // the trace may keep the message alive
}
var_dump($q->reserve('q')->getAttempts());
?>
--EXPECT--
string(1) "0"
string(1) "1"
int(3)
