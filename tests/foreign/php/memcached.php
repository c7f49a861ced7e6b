<?php
// php-memcached (pecl/memcached, on libmemcached), as a web site's workers would use it.

require __DIR__ . '/cases.php';

function client(array $options = []): Memcached
{
    $m = new Memcached;
    foreach ($options as $option => $value) {
        same(true, $m->setOption($option, $value));
    }
    $m->addServer('127.0.0.1', port());
    return $m;
}

function miss(Memcached $m, string $key): void
{
    same(false, $m->get($key));
    same(Memcached::RES_NOTFOUND, $m->getResultCode());
}

/** The flags say of which type a value was. */
function values_keep_their_type(): void
{
    $m = client();
    $values = ['text', '', "\r\nEND\r\n", "\0\xff", implode(array_map('chr', range(0, 255))), 42, -1, PHP_INT_MAX, 1.5, -0.1, true, false, null, ['a' => [1, 2.5, null]]];
    foreach ($values as $value) {
        same(true, $m->set('jobs', $value));
    }
    foreach ($values as $value) {
        same($value, $m->get('jobs'));
        same(Memcached::RES_SUCCESS, $m->getResultCode());
    }
    miss($m, 'jobs');
    $m->setOption(Memcached::OPT_USER_FLAGS, 77);
    $m->set('jobs', 'marked');
    $got = $m->get('jobs', null, Memcached::GET_EXTENDED);
    same(['marked', 77], [$got['value'], $got['flags']]);
}

/** The flags say which serializer and which compression made the bytes: both at once for a long array. */
function serializers_and_compression(): void
{
    $short = ['a' => [1, 2.5, null, true, 'ü']];
    $long = ['text' => str_repeat('a long text that is worth compressing ', 1000)];
    $serializers = [Memcached::SERIALIZER_PHP, Memcached::SERIALIZER_IGBINARY, Memcached::SERIALIZER_JSON_ARRAY, Memcached::SERIALIZER_MSGPACK];
    $seen = [];
    foreach ($serializers as $serializer) {
        foreach ([Memcached::COMPRESSION_FASTLZ, Memcached::COMPRESSION_ZLIB] as $compression) {
            $m = client([Memcached::OPT_SERIALIZER => $serializer, Memcached::OPT_COMPRESSION_TYPE => $compression]);
            foreach ([$short, $long] as $value) {
                same(true, $m->set('jobs', $value));
                $seen[] = explode(' ', first_line('get jobs/peek'))[2];
                same($value, $m->get('jobs'));
            }
        }
    }
    // Four serializers; uncompressed, and compressed in two ways.
    same(12, count(array_unique($seen)));
    // An object comes back as one.
    $m = client();
    $m->set('jobs', new ArrayObject([1, 2]));
    same([1, 2], $m->get('jobs')->getArrayCopy());
}

/** Reliable reads, as Kestrel's users write them: the answer names the queue without the options, which libmemcached does not mind. */
function reliable_reads(): void
{
    $m = client();
    $other = client();
    $m->set('jobs', 'first');
    $m->set('jobs', ['second']);
    same('first', $m->get('jobs/open'));
    same(['second'], $other->get('jobs/open'));
    miss($other, 'jobs/abort');
    same(['second'], $m->get('jobs/close/open'));
    miss($m, 'jobs/abort');
    same(['second'], $m->get('jobs/peek'));
    same(['second'], $m->get('jobs/t=1000/open'));
    miss($m, 'jobs/close');
    miss($m, 'jobs/t=1');
    // The end of the connection gives back what it held.
    $m->set('jobs', 'third');
    same('third', $m->get('jobs/open'));
    miss($other, 'jobs');
    same(true, $m->quit());
    same('third', $other->get('jobs/t=20000'));
}

/** A refusal of a get has no code of its own in this client: it looks like an empty queue, and the connection is gone. */
function a_plain_get_while_a_read_is_open(): void
{
    $m = client();
    $m->set('jobs', 'held');
    same('held', $m->get('jobs/open'));
    miss($m, 'jobs');
    $m->quit();
    same('held', $m->get('jobs/t=20000'));
}

/** Kestrel answers the first key of a get only, and nothing is taken from the other queues. */
function several_keys(): void
{
    $m = client();
    same(true, $m->setMulti(['jobs' => 1, 'mails' => [2]]));
    same(['jobs' => 1], $m->getMulti(['jobs', 'mails']));
    same(['jobs' => null, 'mails' => null], $m->getMulti(['jobs', 'mails'], Memcached::GET_PRESERVE_ORDER));
    same([2], $m->get('mails/peek'));
    // The key of the result is the queue, not what was asked for.
    same(['mails' => [2]], $m->getMulti(['mails/open']));
    same([], $m->getMulti(['mails/close']));
    $m->set('jobs', 3);
    same(true, $m->getDelayed(['jobs/open']));
    same(['key' => 'jobs', 'value' => 3], $m->fetch());
    same(false, $m->fetch());
    miss($m, 'jobs/close');
    same(['jobs' => true, 'mails' => true], $m->deleteMulti(['jobs', 'mails']));
}

/** Options of the connection. */
function without_blocking(): void
{
    $m = client([Memcached::OPT_NO_BLOCK => true, Memcached::OPT_TCP_NODELAY => true, Memcached::OPT_TCP_KEEPALIVE => true]);
    $large = random_bytes(900_000);
    for ($n = 0; $n < 20; $n++) {
        same(true, $m->set('jobs', $n));
    }
    same(true, $m->set('jobs', $large));
    for ($n = 0; $n < 20; $n++) {
        same($n, $m->get('jobs'));
    }
    same($large, $m->get('jobs/open'));
    miss($m, 'jobs/close/t=1');
}

/** Puts wait in the client until the next answer is needed, or until it ends. */
function buffered_writes(): void
{
    $m = client([Memcached::OPT_BUFFER_WRITES => true]);
    for ($n = 0; $n < 50; $n++) {
        same(true, $m->set('jobs', $n));
        same(Memcached::RES_BUFFERED, $m->getResultCode());
    }
    same(0, $m->get('jobs'));
    for ($n = 50; $n < 60; $n++) {
        $m->set('jobs', $n);
    }
    $m->quit();
    $m = client();
    for ($n = 1; $n < 60; $n++) {
        same($n, $m->get('jobs/t=20000'));
    }
    miss($m, 'jobs');
}

/** No answer to a put: then nobody learns that one was refused. */
function without_replies(): void
{
    $m = client([Memcached::OPT_NOREPLY => true]);
    for ($n = 0; $n < 20; $n++) {
        same(true, $m->set('jobs', $n));
    }
    same(true, $m->set('jobs', random_bytes(2 << 20)));
    for ($n = 0; $n < 20; $n++) {
        same($n, $m->get('jobs'));
    }
    miss($m, 'jobs');
    $m->set('jobs', 'x');
    same(true, $m->delete('jobs'));
    miss($m, 'jobs');
    $m->set('jobs', 'x');
    // With an answer, this is an error: see administration().
    same(true, $m->flush());
    miss($m, 'jobs');
}

/** A prefix becomes a part of the queue's name. */
function a_prefix(): void
{
    $m = client([Memcached::OPT_PREFIX_KEY => 'shop:']);
    same(true, $m->set('jobs', 'x'));
    same('VALUE shop:jobs 0 1', first_line('get shop:jobs/peek'));
    same('x', $m->get('jobs/open'));
    miss($m, 'jobs/close');
}

/** A get that waits longer than the client does is broken off by the client: what is put then is not lost. */
function the_client_is_less_patient(): void
{
    $m = client([Memcached::OPT_POLL_TIMEOUT => 50, Memcached::OPT_RECV_TIMEOUT => 50_000]);
    same(false, $m->get('jobs/t=60000'));
    same(Memcached::RES_TIMEOUT, $m->getResultCode());
    $m = client();
    same(true, $m->set('jobs', 'x'));
    same('x', $m->get('jobs/t=4000'));
}

/** Limits are an answer, and the connection goes on. */
function limits(): void
{
    $m = client();
    same(false, $m->set('jobs', random_bytes(2 << 20)));
    same(Memcached::RES_NOTSTORED, $m->getResultCode());
    same(true, $m->set('jobs', random_bytes(1_000_000)));
    same(1_000_000, strlen($m->get('jobs')));
    // From 1,000,000 seconds on, an expiry is a unix time, and this one is long past; memcached draws that line at 30 days.
    same(true, $m->set('jobs', 'x', 20 * 86_400));
    miss($m, 'jobs');
    same(true, $m->set('jobs', 'x', time() + 20 * 86_400));
    same('x', $m->get('jobs'));
}

function administration(): void
{
    $m = client();
    $m->set('jobs', 'x');
    $server = '127.0.0.1:' . port();
    same([$server], array_keys($m->getVersion()));
    same(1, $m->getStats()[$server]['curr_items']);
    same(1, $m->getStats()[$server]['queue_jobs_items']);
    // There are no other statistics.
    same(1, $m->getStats('items')[$server]['queue_jobs_items']);
    same(true, $m->delete('jobs'));
    miss($m, 'jobs');
    // It is done, but the client expects "OK" and Kestrel says "Flushed all queues.".
    $m->set('jobs', 'x');
    same(false, $m->flush());
    miss($m, 'jobs');
}

/** What a queue cannot do is refused, and the connection ends; after quit() the client begins a new one. */
function what_a_cache_can_do(): void
{
    $m = client([Memcached::OPT_COMPRESSION => false]);
    $m->set('jobs', 'x');
    $refused = [
        fn() => $m->add('jobs', 'y'),
        fn() => $m->replace('jobs', 'y'),
        fn() => $m->append('jobs', 'y'),
        fn() => $m->prepend('jobs', 'y'),
        fn() => $m->cas(1.0, 'jobs', 'y'),
        fn() => $m->increment('jobs'),
        fn() => $m->touch('jobs', 10),
    ];
    foreach ($refused as $request) {
        same(false, $request());
        same(Memcached::RES_CLIENT_ERROR, $m->getResultCode());
        $m->quit();
    }
    same('x', $m->get('jobs'));
    miss($m, 'jobs');
    same(false, $m->set('jobs.new', 'x'));
    same(Memcached::RES_CLIENT_ERROR, $m->getResultCode());
    // The binary protocol is not spoken: an error, not a silence.
    same(false, client([Memcached::OPT_BINARY_PROTOCOL => true])->set('jobs', 'x'));
    same(true, client()->set('jobs', 'x'));
}

run_case();
