--TEST--
SIGTERM does not make a system call of the item in hand fail
--EXTENSIONS--
pcntl
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$server = Server::start();
$q = new KQueue($server->address());
$q->push('jobs', 'job');
$fifo = sys_get_temp_dir() . '/kqueue-phpt-fifo-' . getmypid();
exec('mkfifo ' . escapeshellarg($fifo));
echo run_php(<<<'PHP'
    (new KQueue($argv[1]))->consume('jobs', function () use ($argv) {
        // While the file is being opened, which waits for a writer. That one must not wait for a reader, should it fail.
        $script = 'sleep 0.3; kill -TERM ' . getmypid() . '; sleep 0.3; echo written 1<> ' . escapeshellarg($argv[2]);
        $writer = proc_open(['sh', '-c', $script], [], $pipes);
        echo file_get_contents($argv[2]);
    });
    echo "done\n";
    PHP, [$server->address(), $fifo]);
unlink($fifo);
var_dump($q->size('jobs'));
?>
--EXPECT--
written
done
int(0)
