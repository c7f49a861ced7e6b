--TEST--
An exception of the handler gives its item back and propagates; the items before are done
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->pushMany('jobs', ['a', 'b', 'c']);
try {
    $q->consume('jobs', function ($message) {
        if ($message->getBody() === 'b') {
            throw new DomainException('bad ' . $message->getBody());
        }
    });
} catch (DomainException $e) {
    echo $e->getMessage(), "\n";
}
foreach ($q->reserveMany('jobs', 9) as $message) {
    echo $message->getBody(), ' ', $message->getAttempts(), "\n";
}
?>
--EXPECT--
bad b
b 2
c 1
