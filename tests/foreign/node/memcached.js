// The npm package memcached. `node FILE PORT CASE` runs the function CASE and says "ok" if nothing was wrong.
'use strict';

const assert = require('node:assert/strict');
const Memcached = require('memcached');

const server = `127.0.0.1:${process.argv[2]}`;

/** Its requests as promises. */
function client(options) {
    const memcached = new Memcached(server, { timeout: 20000, retries: 0, ...options });
    const ask = (name) => (...args) =>
        new Promise((resolve, reject) =>
            memcached[name](...args, (error, value) => (error ? reject(error) : resolve(value))));
    const names = ['set', 'get', 'getMulti', 'del', 'add', 'stats', 'version'];
    const asked = Object.fromEntries(names.map((name) => [name, ask(name)]));
    return { ...asked, put: (queue, value) => asked.set(queue, value, 0), end: () => memcached.end() };
}

const cases = {
    /** The flags say of which type a value was. */
    async values_keep_their_type() {
        const m = client();
        const values = ['text', '', 'ü', '\r\nEND\r\n', 42, 1.5, true, { a: [1, null] }, Buffer.from([0, 255, 13, 10]), 'x'.repeat(1000000)];
        for (const value of values) {
            assert.equal(await m.put('jobs', value), true);
        }
        for (const value of values) {
            assert.deepEqual(await m.get('jobs'), value);
        }
        assert.equal(await m.get('jobs'), undefined);
        m.end();
    },

    /** A read and what confirms it must use one connection: poolSize 1. */
    async reliable_reads() {
        const m = client({ poolSize: 1 });
        const other = client({ poolSize: 1 });
        for (const value of ['one', 'two', 'three']) {
            await m.put('jobs', value);
        }
        assert.equal(await m.get('jobs/open'), 'one');
        assert.equal(await m.get('jobs/close/open'), 'two');
        assert.equal(await other.get('jobs/open'), 'three');
        assert.equal(await m.get('jobs/abort'), undefined);
        assert.equal(await m.get('jobs/t=1000/open'), 'two');
        assert.equal(await m.get('jobs/close'), undefined);
        other.end();
        assert.equal(await m.get('jobs/t=10000'), 'three');
        m.end();
    },

    /** Requests at once, each on a connection of its own (more than poolSize of them are an error of the client): every item comes out once. */
    async many_at_once() {
        const m = client({ poolSize: 10 });
        const got = [];
        for (let round = 0; round < 20; round++) {
            const numbers = Array.from({ length: 10 }, (_, n) => 10 * round + n);
            await Promise.all(numbers.map((n) => m.put('jobs', n)));
            got.push(...await Promise.all(numbers.map(() => m.get('jobs'))));
        }
        assert.deepEqual(got.sort((a, b) => a - b), Array.from({ length: 200 }, (_, n) => n));
        assert.equal(await m.get('jobs'), undefined);
        m.end();
    },

    async several_keys() {
        const m = client();
        await m.put('jobs', 'one');
        await m.put('mails', 'two');
        assert.deepEqual(await m.getMulti(['jobs', 'mails']), { jobs: 'one' });
        assert.equal(await m.get('mails'), 'two');
        m.end();
    },

    async administration() {
        const m = client();
        await m.put('jobs', 'one');
        const [stats] = await m.stats();
        assert.equal(stats.curr_items, 1);
        assert.equal(stats.queue_jobs_items, 1);
        // It takes the version apart, and throws if that does not end with a number.
        const [version] = await m.version();
        assert.equal([version.major, version.minor, version.bugfix].join('.'), version.version);
        assert.equal(await m.del('jobs'), true);
        assert.equal(await m.get('jobs'), undefined);
        await assert.rejects(m.add('jobs', 'x', 0), /unknown command/);
        m.end();
    },
};

cases[process.argv[3]]().then(
    () => process.stdout.write('ok'),
    (error) => {
        console.error(error);
        process.exit(1);
    });
