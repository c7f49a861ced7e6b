--TEST--
Without strict_types, arguments are coerced as for native functions
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
class Text
{
    public function __construct(private string $text) {}
    public function __toString(): string { return $this->text; }
}
$server = Server::start();
$q = new KQueue(new Text($server->address()), ['timeout' => '5', 'retries' => '1', 'persistent' => 1]);
$q->push(new Text('q'), new Text('text'), '60');
$q->push('q', 12);
$q->push('q', 1.5);
$q->push('q', true);
$q->push('q', null);
$q->pushMany('q', [new Text('many'), 13]);
while (($body = $q->pop('q', '0')) !== null) {
    var_dump($body);
}
?>
--EXPECTF--
Deprecated: KQueue::push(): Passing null to parameter #2 ($body) of type string is deprecated in %s on line %d
string(4) "text"
string(2) "12"
string(3) "1.5"
string(1) "1"
string(0) ""
string(4) "many"
string(2) "13"
