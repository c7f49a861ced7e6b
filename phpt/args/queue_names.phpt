--TEST--
Bad queue names are ValueErrors and nothing is sent
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$q = new KQueue('127.0.0.1:1');
$bad = ['', 'a b', "a\r\nset x", "a\0b", 'a/open', 'a.b', 'a~b', '+', '+x', str_repeat('x', 251), "a\x7f", "a\t"];
foreach (['push', 'pushMany', 'pop', 'reserve', 'peek', 'size', 'purge', 'delete'] as $method) {
    $refused = 0;
    foreach ($bad as $name) {
        $rest = ['push' => ['b'], 'pushMany' => [['b']]][$method] ?? [];
        try {
            $q->$method($name, ...$rest);
        } catch (ValueError $e) {
            $refused += str_starts_with($e->getMessage(), "KQueue::$method(): Argument #1 (\$queue");
        }
    }
    echo "$method refused $refused of ", count($bad), "\n";
}
outcome(fn () => $q->reserve(['good', 'a b']));
outcome(fn () => $q->reserve([]));
outcome(fn () => $q->reserve(array_fill(0, 17, 'q')));
var_dump($q->stats()['127.0.0.1:1']['client']['opened']);
?>
--EXPECTF--
push refused 12 of 12
pushMany refused 12 of 12
pop refused 12 of 12
reserve refused 12 of 12
peek refused 12 of 12
size refused 12 of 12
purge refused 12 of 12
delete refused 12 of 12
ValueError: KQueue::reserve(): Argument #1 ($queues) must contain only queue names: %s
ValueError: KQueue::reserve(): Argument #1 ($queues) must name between 1 and 16 queues
ValueError: KQueue::reserve(): Argument #1 ($queues) must name between 1 and 16 queues
int(0)
