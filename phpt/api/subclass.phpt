--TEST--
A program may extend KQueue; without the parent's constructor its methods say so
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
class Counting extends KQueue
{
    public int $calls = 0;

    public function push(string $queue, string $body, int $ttl = 0): string
    {
        $this->calls++;
        return 'fake';
    }
}
class Forgetful extends KQueue
{
    public function __construct() {}
}
$counting = new Counting('127.0.0.1:1');
var_dump($counting->push('q', 'x'), $counting->calls, get_class($counting), $counting instanceof KQueue);
outcome(fn () => (new Forgetful())->push('q', 'x'));
?>
--EXPECT--
string(4) "fake"
int(1)
string(8) "Counting"
bool(true)
Error: The KQueue object has not been correctly initialized by its constructor
