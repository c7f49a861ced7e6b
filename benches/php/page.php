<?php
/**
 * A page of a site that puts one item on a queue, with the client that the query names: called by kqueue-bench through php-fpm.
 *
 * KQUEUE, MEMCACHED and REDIS are where the servers are; MEMCACHED is the same kqueue-server, by Kestrel's commands.
 */
$body = str_repeat('x', 1024);
$memcached = function (?string $kept) use ($body): bool {
    [$host, $port] = explode(':', $_SERVER['MEMCACHED']);
    $client = new Memcached($kept);
    if (!$client->getServerList()) {
        $client->setOption(Memcached::OPT_COMPRESSION, false);
        $client->setOption(Memcached::OPT_TCP_NODELAY, true);
        $client->addServer($host, (int) $port);
    }
    return $client->set('site', $body);
};
$is_stored = match ($_SERVER['QUERY_STRING']) {
    'nothing' => true,
    'connection' => $memcached(null),
    'memcached' => $memcached('site'),
    'redis' => (function () use ($body): bool {
        [$host, $port] = explode(':', $_SERVER['REDIS']);
        $client = new Redis();
        $client->pconnect($host, (int) $port);
        return $client->lPush('site', $body) > 0;
    })(),
    'kqueue' => (new KQueue($_SERVER['KQUEUE']))->push('site', $body) !== '',
};
echo $is_stored ? 'stored' : 'not stored';
