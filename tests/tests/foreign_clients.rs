//! Memcached clients that others wrote, unchanged.

use std::process::Command;

use kqueue_tests::{Daemon, run, run_with_input};

/// php-memcached: values of every type go through its serializer and its compression, whose marks are the flags.
#[test]
fn php_memcached() {
    let daemon = Daemon::start("");
    let code = format!(
        r#"<?php
        function same($expected, $got) {{
            if ($expected !== $got) {{
                file_put_contents('php://stderr', sprintf("line %d: expected %s, got %s\n", debug_backtrace()[0]['line'], var_export($expected, true), var_export($got, true)));
                exit(1);
            }}
        }}
        $m = new Memcached;
        $m->addServer('127.0.0.1', {port});
        $long = str_repeat('a long text that is worth compressing ', 1000);
        $values = ['text', '', "\r\nEND\r\n", "\0\xff", 42, 1.5, true, null, ['a' => [1, 2]], $long];
        foreach ($values as $value) {{
            same(true, $m->set('jobs', $value));
        }}
        foreach ($values as $value) {{
            same($value, $m->get('jobs'));
            same(Memcached::RES_SUCCESS, $m->getResultCode());
        }}
        same(false, $m->get('jobs'));
        same(Memcached::RES_NOTFOUND, $m->getResultCode());

        // Reliable reads, as Kestrel's users write them.
        $m->set('jobs', 'first');
        $m->set('jobs', 'second');
        same('first', $m->get('jobs/open'));
        same('second', $m->get('jobs/close/open'));
        same(false, $m->get('jobs/abort'));
        same('second', $m->get('jobs/peek'));
        same('second', $m->get('jobs/t=1000'));
        same(false, $m->get('jobs/t=1'));

        // Limits are an answer, not an error.
        same(false, $m->set('jobs', random_bytes(2 << 20)));
        same(Memcached::RES_NOTSTORED, $m->getResultCode());

        same(true, $m->set('short', 'x', 1));
        same(true, $m->delete('short'));
        same(false, $m->get('short'));
        same(['127.0.0.1:{port}'], array_keys($m->getVersion()));
        same(true, isset(current($m->getStats())['curr_items']));

        // Without waiting for answers, and in the buffer until the next answer is needed.
        $m->setOption(Memcached::OPT_NOREPLY, true);
        $m->set('jobs', 'quiet');
        $m->setOption(Memcached::OPT_NOREPLY, false);
        same('quiet', $m->get('jobs'));
        echo 'ok';
        "#,
        port = daemon.address().port()
    );
    assert_eq!(run_with_input(&mut Command::new("php"), &code), "ok");
}

#[test]
fn pymemcache() {
    let daemon = Daemon::start("");
    let code = format!(
        r#"
from pymemcache.client.base import Client, PooledClient
client = Client(('127.0.0.1', {port}), timeout=20)
values = [b'text', b'', b'\r\nEND\r\n', bytes(range(256)), b'x' * 100000]
for value in values:
    assert client.set('jobs', value, noreply=False) is True
for value in values:
    assert client.get('jobs') == value
assert client.get('jobs') is None
# Its default: no answer to a set.
client.set('jobs', b'first')
client.set('jobs', b'second')
# It insists that the key of the answer is that of the question, so Kestrel's options are not for it.
assert client.get('jobs') == b'first'
assert client.delete('jobs', noreply=False) is True
assert client.get('jobs') is None
assert client.set('jobs', b'x' * 2000000, noreply=False) is False
assert b'.' in client.version()
assert b'curr_items' in client.stats()
# It expects OK, Kestrel says "Flushed all queues.".
client.flush_all()
assert client.get('jobs') is None
client.quit()
pool = PooledClient(('127.0.0.1', {port}), max_pool_size=4, timeout=20)
assert pool.set('jobs', b'pooled', noreply=False) is True
assert pool.get('jobs') == b'pooled'
print('ok', end='')
"#,
        port = daemon.address().port()
    );
    // Debian's package belongs to Debian's Python, whatever else is called python3 here.
    assert_eq!(run_with_input(&mut Command::new("/usr/bin/python3"), &code), "ok");
}

#[test]
fn libmemcached_tools() {
    let daemon = Daemon::start("");
    let servers = format!("--servers={}", daemon.address());
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("article");
    std::fs::write(&file, "an article").expect("a file");
    let tool = |name: &str| {
        let mut command = Command::new(name);
        command.arg(&servers);
        command
    };
    // It names the item, and so the queue, after the file.
    run(tool("memccp").arg(&file));
    run(tool("memccp").arg(&file));
    assert_eq!(run(tool("memccat").arg("article")).trim_end(), "an article");
    assert!(run(&mut tool("memcstat")).contains("curr_items: 1"));
    run(&mut tool("memcping"));
    run(tool("memcrm").arg("article"));
    assert_eq!(daemon.stat("curr_items").as_deref(), Some("0"));
}
