--TEST--
Objects of one process share its connections; persistent_id and persistent=false do not
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$opened = fn () => (new KQueue($server->address()))->stats()[$server->address()]['client']['opened'];
for ($i = 0; $i < 10; $i++) {
    $q = new KQueue($server->address());
    $q->push('q', "b$i");
    $q->pop('q');
    unset($q);
}
$before = $opened();
var_dump($before);
(new KQueue($server->address(), ['persistent_id' => 'other']))->push('q', 'b');
var_dump($opened() - $before);
(new KQueue($server->address(), ['persistent' => false]))->push('q', 'b');
(new KQueue($server->address(), ['persistent' => false]))->push('q', 'b');
var_dump($opened() - $before);
?>
--EXPECT--
int(1)
int(1)
int(3)
