--TEST--
SIGTERM ends a process that a handler has forked, unless it runs a loop itself
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
$q->push('inner', 'item');
echo run_php(<<<'PHP'
    $q = new KQueue($argv[1]);
    $end = function (callable $work) {
        [$mine, $its] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        if (!($pid = pcntl_fork())) {
            fclose($mine);
            $work($its);
            exec('kill -KILL ' . getmypid());
        }
        fclose($its);
        fgets($mine);
        exec("kill -TERM $pid");
        @fwrite($mine, "go on\n");
        pcntl_waitpid($pid, $status);
        echo pcntl_wifsignaled($status) ? 'signal ' . pcntl_wtermsig($status) : 'exit ' . pcntl_wexitstatus($status), "\n";
    };
    $q->consume('jobs', function () use ($end, $argv) {
        $end(function ($pipe) {
            fwrite($pipe, "ready\n");
            sleep(30);
        });
        $end(function ($pipe) use ($argv) {
            $handled = (new KQueue($argv[1]))->consume('inner', function () use ($pipe) {
                fwrite($pipe, "ready\n");
                fgets($pipe);
            });
            exit(10 + $handled);
        });
    }, 1);
    PHP, [$server->address()]);
var_dump($q->size('inner'));
?>
--EXPECT--
signal 15
exit 11
int(0)
