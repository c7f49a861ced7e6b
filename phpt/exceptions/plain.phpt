--TEST--
The exceptions are made, chained, extended and serialized like any other
--FILE--
<?php
class MineException extends KQueueFullException
{
    public function __construct(string $message, public readonly string $extra = 'more')
    {
        parent::__construct($message, 7, new LogicException('cause'));
    }
}
try {
    throw new MineException('mine');
} catch (KQueueServerException $e) {
    var_dump($e->getMessage(), $e->getCode(), $e->getPrevious()->getMessage(), $e->extra, $e->getLine());
}
$copy = unserialize(serialize(new KQueueTimeoutException('later', 1)));
var_dump(get_class($copy), $copy->getMessage(), $copy->getCode());
?>
--EXPECT--
string(4) "mine"
int(7)
string(5) "cause"
string(4) "more"
int(10)
string(22) "KQueueTimeoutException"
string(5) "later"
int(1)
