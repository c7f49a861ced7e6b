--TEST--
An exception points at the caller's line
--FILE--
<?php
function caller(KQueue $q): void
{
    $q->push('q', 'b');
}
try {
    caller(new KQueue('127.0.0.1:1', ['retries' => 0]));
} catch (KQueueException $e) {
    var_dump(basename($e->getFile()) === basename(__FILE__), $e->getLine(), $e->getTrace()[0]['function'], $e->getTrace()[1]['function']);
}
?>
--EXPECT--
bool(true)
int(4)
string(4) "push"
string(6) "caller"
