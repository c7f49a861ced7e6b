<?php
/**
 * Does what kqueue-bench asks for: lines "ACTION COUNT" on standard input. Each is answered by a line: nanoseconds that passed, nanoseconds of this process's processor, and
 * what the action has to say. Its arguments are the server's address (or two, with a comma), and those of Redis and memcached, if there are any.
 */
const BODY = 1024;
const BATCH = 100;

[, $kqueue, $redis, $memory] = $argv + [2 => '', 3 => ''];
$body = str_repeat('x', BODY);
$pooled = new KQueue($kqueue);
$foreign = $memory === '' ? null : new KQueue($memory);
$unkeyed = new KQueue($kqueue, ['retry_mode' => 'never']);

/** As a site would make it: the same settings for all. */
function memcached(string $address, ?string $id): Memcached
{
    $client = new Memcached($id);
    if ($client->getServerList() === []) {
        [$host, $port] = explode(':', $address);
        $client->setOption(Memcached::OPT_COMPRESSION, false);
        $client->setOption(Memcached::OPT_TCP_NODELAY, true);
        $client->addServer($host, (int) $port);
    }
    return $client;
}

function repeat(int $count, callable $what): void
{
    for ($n = 0; $n < $count; $n++) {
        $what();
    }
}

/** Nanoseconds in pushAsync(); what sync() waits for is not among them. */
function pushed_without_waiting(KQueue $queue, int $count, int $batch, string $body): int
{
    $spent = 0;
    for ($done = 0; $done < $count; $done += $batch) {
        $begin = hrtime(true);
        for ($n = 0; $n < $batch; $n++) {
            $queue->pushAsync('later', $body);
        }
        $spent += hrtime(true) - $begin;
        $queue->sync();
    }
    return $spent;
}

/** Pushes while servers fail: nanoseconds of the longest, of the median, and how many threw. */
function pushed_whatever_happens(KQueue $queue, int $count, string $body): array
{
    $times = [];
    $failed = 0;
    for ($n = 0; $n < $count; $n++) {
        $begin = hrtime(true);
        try {
            $queue->push('failover', $body);
        } catch (KQueueException $problem) {
            fwrite(STDERR, get_class($problem) . ': ' . $problem->getMessage() . "\n");
            $failed++;
        }
        $times[] = hrtime(true) - $begin;
    }
    sort($times);
    return [end($times), $times[intdiv($count, 2)], $failed];
}

$memcached = class_exists('Memcached') ? memcached($kqueue, 'bench') : null;
if ($redis !== '') {
    [$host, $port] = explode(':', $redis);
    $phpredis = new Redis();
    $phpredis->pconnect($host, (int) $port);
}

$actions = [
    'push' => fn (int $count) => repeat($count, fn () => $pooled->push('ours', $body)),
    'push_unkeyed' => fn (int $count) => repeat($count, fn () => $unkeyed->push('unkeyed', $body)),
    'push_memory' => fn (int $count) => repeat($count, fn () => $foreign->push('foreign', $body)),
    'push_object' => fn (int $count) => repeat($count, fn () => (new KQueue($kqueue))->push('object', $body)),
    'push_fresh' => fn (int $count) => repeat($count, fn () => (new KQueue($kqueue, ['persistent' => false]))->push('fresh', $body)),
    'push_many' => fn (int $count) => repeat(intdiv($count, BATCH), fn () => $pooled->pushMany('many', array_fill(0, BATCH, $body))),
    'push_async_1' => fn (int $count) => pushed_without_waiting($pooled, $count, 1, $body),
    'push_async_10' => fn (int $count) => pushed_without_waiting($pooled, $count, 10, $body),
    'push_async_100' => fn (int $count) => pushed_without_waiting($pooled, $count, 100, $body),
    'reserve' => fn (int $count) => repeat($count, fn () => $pooled->reserve('ours')->ack()),
    'set' => fn (int $count) => repeat($count, fn () => $memcached->set('theirs', $body) ?: throw new Exception($memcached->getResultMessage())),
    'set_fresh' => fn (int $count) => repeat($count, fn () => memcached($kqueue, null)->set('fresh', $body) ?: throw new Exception('not set')),
    'get' => fn (int $count) => repeat($count, function () use ($memcached) {
        strlen((string) $memcached->get('theirs/open')) === BODY ?: throw new Exception($memcached->getResultMessage());
        $memcached->get('theirs/close');
    }),
    'lpush' => fn (int $count) => repeat($count, fn () => $phpredis->lPush('list', $body)),
    'rpoplpush' => fn (int $count) => repeat($count, function () use ($phpredis) {
        $phpredis->lRem('open', $phpredis->rPopLPush('list', 'open'), 1) === 1 ?: throw new Exception('not removed');
    }),
    'forget' => fn () => $phpredis->flushAll(),
    'failover' => fn (int $count) => pushed_whatever_happens($pooled, $count, $body),
    'cycle' => fn (int $count) => repeat($count, function () use ($pooled, $body) {
        $pooled->push('cycle', $body);
        $pooled->reserve('cycle')->ack();
    }),
];

while (($line = fgets(STDIN)) !== false) {
    [$action, $count] = explode(' ', trim($line));
    $usage = getrusage();
    $begin = hrtime(true);
    $said = $actions[$action]((int) $count);
    $elapsed = hrtime(true) - $begin;
    $now = getrusage();
    $busy = 0;
    foreach (['ru_utime', 'ru_stime'] as $kind) {
        $busy += ($now["$kind.tv_sec"] - $usage["$kind.tv_sec"]) * 1_000_000 + $now["$kind.tv_usec"] - $usage["$kind.tv_usec"];
    }
    echo implode(' ', [$elapsed, $busy * 1000, ...(array) $said]), "\n";
}
