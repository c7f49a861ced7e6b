<?php
/**
 * Medians, in microseconds, of KQueue::push and of Memcached::set to the same kqueue-server over persistent connections, each request in turn. Called by kqueue-bench with
 * the server's address.
 */
[, $address] = $argv;
[$host, $port] = explode(':', $address);
$kqueue = new KQueue($address);
$memcached = new Memcached('bench');
$memcached->setOption(Memcached::OPT_COMPRESSION, false);
$memcached->setOption(Memcached::OPT_TCP_NODELAY, true);
$memcached->addServer($host, (int) $port);
$body = str_repeat('x', 1024);

$push = $set = [];
for ($n = 0; $n < 20000; $n++) {
    $begin = hrtime(true);
    $kqueue->push('bench', $body);
    $push[] = hrtime(true) - $begin;
    $begin = hrtime(true);
    $memcached->set('bench', $body) or exit($memcached->getResultMessage());
    $set[] = hrtime(true) - $begin;
}
foreach ([$push, $set] as $times) {
    sort($times);
    echo $times[intdiv(count($times), 2)] / 1000, ' ';
}
