<?php
/**
 * Medians, in microseconds: KQueue::push in the pool, and a new Memcached that connects to a proxy, puts and closes; in turns.
 * Arguments: the server's address, the proxy's, how many of each.
 */
[, $server, $proxy, $count] = $argv;
[$host, $port] = explode(':', $proxy);
$body = str_repeat('x', 64);

function timed(callable $what): float
{
    $begin = hrtime(true);
    $what();
    return (hrtime(true) - $begin) / 1000;
}

function median(array $times): float
{
    sort($times);
    return $times[intdiv(count($times), 2)];
}

$pooled = $short = [];
for ($n = 0; $n < $count; $n++) {
    $pooled[] = timed(fn () => (new KQueue($server))->push('bench', $body));
    $short[] = timed(function () use ($host, $port, $body) {
        $client = new Memcached();
        $client->setOption(Memcached::OPT_TCP_NODELAY, true);
        $client->addServer($host, (int) $port);
        $client->set('bench', $body) || throw new Exception($client->getResultMessage());
        $client->quit();
    });
}
echo median($pooled), ' ', median($short), "\n";
