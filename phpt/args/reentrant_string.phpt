--TEST--
A __toString that calls the constructor again does no harm
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue('127.0.0.1:1');
$body = new class ($q, $server->address()) {
    public function __construct(private KQueue $q, private string $address) {}
    public function __toString(): string
    {
        $this->q->__construct($this->address);
        return 'b';
    }
};
$q->push('q', $body);
var_dump($q->pop('q'));
?>
--EXPECT--
string(1) "b"
