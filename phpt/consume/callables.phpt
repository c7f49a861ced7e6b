--TEST--
Everything callable is a handler, and nothing else
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
class Worker
{
    public function handle(KQueue\Message $message): void { echo 'method ', $message->getBody(), "\n"; }
    public static function run($message) { echo 'static ', $message->getBody(), "\n"; }
    public function __invoke($message) { echo 'object ', $message->getBody(), "\n"; }
}
function work($message) { echo 'function ', $message->getBody(), "\n"; }
foreach ([[new Worker, 'handle'], 'Worker::run', new Worker, 'work', (new Worker)->handle(...)] as $n => $handler) {
    $q->push('jobs', "$n");
    $q->consume('jobs', $handler, 1);
}
outcome(fn () => $q->consume('jobs', 'nothing'));
outcome(fn () => $q->consume('jobs', ['Worker', 'gone']));
outcome(fn () => $q->consume('jobs', fn () => null, -1));
outcome(fn () => $q->consume('jobs', fn () => null, 0, -1.0));
outcome(fn () => $q->consume([], fn () => null));
$q->push('jobs', 'typed');
outcome(fn () => $q->consume('jobs', function (int $message) {}));
var_dump($q->size('jobs'));
?>
--EXPECT--
method 0
static 1
object 2
function 3
method 4
TypeError: KQueue::consume(): Argument #2 ($handler) must be a valid callback, function "nothing" not found or invalid function name
TypeError: KQueue::consume(): Argument #2 ($handler) must be a valid callback, class Worker does not have a method "gone"
ValueError: KQueue::consume(): Argument #3 ($max) must be at least 0
ValueError: KQueue::consume(): Argument #4 ($timeout) must be between 0 and 2147483 seconds
ValueError: KQueue::consume(): Argument #1 ($queues) must name between 1 and 16 queues
TypeError: {closure}(): Argument #1 ($message) must be of type int, KQueue\Message given
int(1)
