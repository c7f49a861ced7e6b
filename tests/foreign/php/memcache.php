<?php
// php-memcache (pecl/memcache), the older of PHP's two clients.

require __DIR__ . '/cases.php';

function client(): Memcache
{
    $m = new Memcache;
    same(true, $m->connect('127.0.0.1', port()));
    return $m;
}

/** The flags say of which type a value was, and whether it is compressed. */
function values_keep_their_type(): void
{
    $m = client();
    $values = ['text', '', "\r\nEND\r\n", "\0\xff", 42, 1.5, true, ['a' => [1, 2.5, null]], str_repeat('long ', 10_000)];
    foreach ($values as $value) {
        same(true, $m->set('jobs', $value));
        same(true, $m->set('packed', $value, MEMCACHE_COMPRESSED));
    }
    foreach ($values as $value) {
        same($value, $m->get('jobs'));
        same($value, $m->get('packed'));
    }
    same(false, $m->get('jobs'));
    $m->set('jobs', 'x', 0x10000, 1000);
    $flags = null;
    same('x', $m->get('jobs', $flags));
    same(0x10000, $flags);
    same(false, $m->set('jobs', random_bytes(2 << 20)));
    same(true, $m->set('jobs', 'x'));
}

function reliable_reads(): void
{
    $m = client();
    foreach (['one', 'two', 'three'] as $value) {
        $m->set('jobs', $value);
    }
    same('one', $m->get('jobs/open'));
    same('two', $m->get('jobs/close/open'));
    same(false, $m->get('jobs/abort'));
    same('two', $m->get('jobs/t=1000/open'));
    same(false, $m->get('jobs/close'));
    same('three', $m->get('jobs/peek'));
    same('three', $m->get('jobs/open'));
    $m->close();
    same('three', client()->get('jobs/t=20000'));
}

/** One queue a get: the others are left alone. */
function several_keys(): void
{
    $m = client();
    $m->set('jobs', 'one');
    $m->set('mails', 'two');
    same(['jobs' => 'one'], $m->get(['jobs', 'mails']));
    same('two', $m->get('mails'));
}

function administration(): void
{
    $m = client();
    $m->set('jobs', 'x');
    same(true, str_contains($m->getVersion(), '.'));
    same('1', $m->getStats()['queue_jobs_items']);
    same(true, $m->delete('jobs'));
    same(false, $m->get('jobs'));
    same(true, $m->close());
}

run_case();
