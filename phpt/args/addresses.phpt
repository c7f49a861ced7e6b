--TEST--
Malformed addresses are ValueErrors; good ones are accepted in every form
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
foreach (['', ',', 'h:', 'h:0', 'h:65536', 'h:x', '::1', '[::1', 'http://h', 'unix:relative', "h\0", []] as $bad) {
    try {
        new KQueue($bad);
        echo 'accepted: ';
        var_dump($bad);
    } catch (ValueError $e) {
        echo str_starts_with($e->getMessage(), 'KQueue::__construct(): Argument #1 ($servers) ') ? '.' : $e->getMessage();
    }
}
echo "\n";
foreach (['h', 'h:1,g:2', '[::1]:5', 'unix:///run/kqueue/kqueue.sock', ['h:1', 'g:2'], ['h:1,g:2', 'f'], null] as $good) {
    new KQueue($good);
    echo '.';
}
echo "\n";
?>
--EXPECT--
............
.......
