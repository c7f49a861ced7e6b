--TEST--
Bodies are bytes: NUL, protocol text, empty, large
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$bodies = ["a\0b", "x\r\nEND\r\n", '', 'x', "\xff\xfe", str_repeat("0123456789abcdef", 50000)];
foreach ($bodies as $body) {
    $q->push('q', $body);
}
foreach ($bodies as $number => $body) {
    $message = $number % 2 ? $q->reserve('q') : null;
    $got = $message ? $message->getBody() : $q->pop('q');
    $message?->ack();
    var_dump($got === $body);
}
var_dump($q->pop('q'));
?>
--EXPECT--
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
NULL
