--TEST--
Over a unix socket
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$socket = sys_get_temp_dir() . '/kqueue-phpt-' . getmypid() . '.sock';
$server = Server::start('', '', "\"unix:$socket\"");
$q = new KQueue("unix://$socket");
$q->push('q', 'b');
$message = $q->reserve('q');
var_dump($message->getBody(), array_keys($q->ping()) === ["unix://$socket"]);
$message->ack();
@unlink($socket);
?>
--EXPECT--
string(1) "b"
bool(true)
