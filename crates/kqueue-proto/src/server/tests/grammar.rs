//! Every row of the command and error tables.

use super::*;
use crate::{Expiry, GetOptions};
use std::vec;

fn set(key: &[u8], flags: u32, expiry: i32, body: &[u8], noreply: bool) -> Request {
    let expiry = Expiry::Kestrel(expiry);
    Request::Set { key: bytes(key), flags, expiry, body: Body::Bytes(bytes(body)), noreply }
}

fn get(key: &[u8], options: GetOptions) -> Request {
    Request::Get { key: bytes(key), options, with_cas: false }
}

const PLAIN: GetOptions = GetOptions {
    wait_ms: 0,
    open: false,
    close: false,
    abort: false,
    peek: false,
    close_all: false,
};

#[test]
fn commands_without_arguments() {
    for (input, expected) in [
        (&b"stats\r\n"[..], Request::Stats),
        (b"stats items\r\n", Request::Stats),
        (b"version\r\n", Request::Version),
        (b"quit\r\n", Request::Quit),
        (b"capabilities\r\n", Request::Capabilities),
        (b"flush_all\r\n", Request::FlushAll { noreply: false }),
        (b"flush_all 10\r\n", Request::FlushAll { noreply: false }),
        (b"flush_all noreply\r\n", Request::FlushAll { noreply: true }),
        (b"flush_all 0 noreply\r\n", Request::FlushAll { noreply: true }),
    ] {
        assert_eq!(request(input), expected);
    }
}

#[test]
fn a_line_ends_at_lf_with_or_without_cr() {
    assert_eq!(request(b"version\n"), Request::Version);
    assert_eq!(all(b"version\nversion\r\nversion\n"), vec![Event::Request(Request::Version); 3]);
}

#[test]
fn only_the_command_is_lower_cased() {
    assert_eq!(request(b"VeRSION\r\n"), Request::Version);
    assert_eq!(request(b"GET Q/OPEN\r\n"), get(b"Q", PLAIN));
    assert_eq!(request(b"SET Q 0 0 1 NOREPLY\r\nx\r\n"), set(b"Q", 0, 0, b"x", false));
}

#[test]
fn single_spaces_separate_and_trailing_ones_do_not_count() {
    assert_eq!(request(b"get q  \r\n"), get(b"q", PLAIN));
    assert_eq!(request(b"version \r\n"), Request::Version);
    // Two spaces: the queue's name is the empty token between them.
    let delete = Request::Delete { key: Bytes::new(), noreply: false };
    assert_eq!(request(b"delete  q\r\n"), delete);
    assert_eq!(fatal(b"get  q\r\n"), "empty queue name");
    assert_eq!(fatal(b" version\r\n"), "unknown command ''");
    assert_eq!(fatal(b"version\tx\r\n"), "unknown command 'version\\tx'");
    assert_eq!(request(b"get q\tx\r\n"), get(b"q\tx", PLAIN));
}

#[test]
fn set_takes_what_kestrel_and_memcached_take() {
    assert_eq!(request(b"set q 0 0 5\r\nhello\r\n"), set(b"q", 0, 0, b"hello", false));
    assert_eq!(request(b"set q 0 0 0\r\n\r\n"), set(b"q", 0, 0, b"", false));
    assert_eq!(request(b"set q 4294967295 -1 1\nx\r\n"), set(b"q", u32::MAX, -1, b"x", false));
    assert_eq!(request(b"set q -1 9 1\r\nx\r\n"), set(b"q", u32::MAX, 9, b"x", false));
    let max = i32::MAX;
    assert_eq!(request(b"set q 0 2147483647 1\r\nx\r\n"), set(b"q", 0, max, b"x", false));
    assert_eq!(request(b"set q 0 0 1 noreply\r\nx\r\n"), set(b"q", 0, 0, b"x", true));
    assert_eq!(request(b"set q 0 0 1 77\r\nx\r\n"), set(b"q", 0, 0, b"x", false));
    assert_eq!(request(b"set q 0 0 1 77 noreply\r\nx\r\n"), set(b"q", 0, 0, b"x", true));
    // Names are the business of whoever executes it.
    assert_eq!(request(b"set a.b/c 0 0 1\r\nx\r\n"), set(b"a.b/c", 0, 0, b"x", false));
    assert_eq!(request(b"set q\xe9+ 0 0 1\r\nx\r\n"), set(b"q\xe9+", 0, 0, b"x", false));
    // Line ends inside a body are data.
    assert_eq!(request(b"set q 0 0 6\r\n\r\nx\n\0y\r\n"), set(b"q", 0, 0, b"\r\nx\n\0y", false));
}

#[test]
fn set_with_bad_flags_passes_over_the_body() {
    assert_eq!(malformed(b"set q abc 0 9\r\nversion\r\n\r\n"), "bad flags 'abc'");
    assert_eq!(malformed(b"set q 4294967296 0 1\r\nx\r\n"), "bad flags '4294967296'");
    let refused = |noreply| Request::Malformed {
        error: ClientError::BadNumber("flags", bytes(b"-")),
        noreply,
    };
    assert_eq!(request(b"set q - 0 1 noreply\r\nx\r\n"), refused(true));
    assert_eq!(request(b"set q - 0 1\r\nx\r\n"), refused(false));
    // Also a body that would not have been kept.
    let mut input = b"set q x 0 101\r\n".to_vec();
    input.extend_from_slice(&[b'y'; 101]);
    input.extend_from_slice(b"\r\n");
    assert_eq!(malformed(&input), "bad flags 'x'");
    assert_eq!(fatal(b"set q x 0 1\r\nyz\r\n"), "bad data chunk");
}

#[test]
fn set_whose_end_is_not_known_closes() {
    for (input, reason) in [
        (&b"set\r\n"[..], "missing queue name"),
        (b"set q\r\n", "missing flags"),
        (b"set q 0\r\n", "missing expiry"),
        (b"set q 0 0\r\n", "missing byte count"),
        (b"set q 0 0 \r\n", "missing byte count"),
        (b"set q 0 0 x\r\n", "bad byte count 'x'"),
        (b"set q 0 0 -1\r\n", "bad byte count '-1'"),
        (b"set q 0 0 1.5\r\n", "bad byte count '1.5'"),
        (b"set q 0 0  1\r\n", "bad byte count ''"),
        (b"set q 0 0 2147483648\r\n", "bad byte count '2147483648'"),
        (b"set q 0 0 99999999999999999999\r\n", "bad byte count '99999999999999999999'"),
        (b"set q 0 x 1\r\nx\r\n", "bad expiry 'x'"),
        (b"set q 0 2147483648 1\r\nx\r\n", "bad expiry '2147483648'"),
        (b"set q 0 0 1\r\nxy\r\n", "bad data chunk"),
        (b"set q 0 0 1\r\nx\n", "bad data chunk"),
        (b"set q 0 0 1\r\nx\rx", "bad data chunk"),
        (b"set q 0 0 0\r\nversion\r\n", "bad data chunk"),
        (b"set q 0 0 3\r\nx\r\nversion\r\n", "bad data chunk"),
    ] {
        assert_eq!(fatal(input), reason, "{}", input.escape_ascii());
    }
}

#[test]
fn get_and_its_options() {
    let wait = |wait_ms| GetOptions { wait_ms, ..PLAIN };
    let open = GetOptions { open: true, ..PLAIN };
    let close = GetOptions { close: true, ..PLAIN };
    for (input, expected) in [
        (&b"get q\r\n"[..], get(b"q", PLAIN)),
        (b"get q other keys/peek/abort\r\n", get(b"q", PLAIN)),
        (b"get a.b\r\n", get(b"a.b", PLAIN)),
        (b"get +\r\n", get(b"+", PLAIN)),
        (b"get q/open\r\n", get(b"q", open)),
        (b"get q/close\r\n", get(b"q", close)),
        (b"get q/abort\r\n", get(b"q", GetOptions { abort: true, ..PLAIN })),
        (b"get q/peek\r\n", get(b"q", GetOptions { peek: true, ..PLAIN })),
        (b"get q/close/open\r\n", get(b"q", GetOptions { close: true, open: true, ..PLAIN })),
        (b"get q/open/close\r\n", get(b"q", GetOptions { close: true, open: true, ..PLAIN })),
        (b"get q/open/t=250\r\n", get(b"q", GetOptions { wait_ms: 250, open: true, ..PLAIN })),
        (b"get q/t=1/peek\r\n", get(b"q", GetOptions { wait_ms: 1, peek: true, ..PLAIN })),
        (b"get q/t=0\r\n", get(b"q", PLAIN)),
        (b"get q/t=-5\r\n", get(b"q", PLAIN)),
        (b"get q/t=5/t=7\r\n", get(b"q", wait(7))),
        (b"get q/t=7/t=-1\r\n", get(b"q", PLAIN)),
        (b"get q/t=2147483647\r\n", get(b"q", wait(i32::MAX as u32))),
        (b"get q/T=5/Open/fancy//\r\n", get(b"q", PLAIN)),
        (b"get q/\r\n", get(b"q", PLAIN)),
        (b"gets q\r\n", Request::Get { key: bytes(b"q"), options: PLAIN, with_cas: true }),
        (b"gets q/open\r\n", Request::Get { key: bytes(b"q"), options: open, with_cas: true }),
    ] {
        assert_eq!(request(input), expected, "{}", input.escape_ascii());
    }
}

#[test]
fn get_errors() {
    for input in [&b"get\r\n"[..], b"get \r\n", b"gets\r\n"] {
        assert_eq!(malformed(input), "missing queue name");
    }
    for input in [&b"get /\r\n"[..], b"get ///\r\n"] {
        assert_eq!(malformed(input), "empty queue name");
    }
    assert_eq!(fatal(b"get /open\r\n"), "empty queue name");
    assert_eq!(fatal(b"get  \x01\r\n"), "empty queue name");
    for input in [
        &b"get q/peek/open\r\n"[..],
        b"get q/peek/close\r\n",
        b"get q/abort/open\r\n",
        b"get q/close/abort\r\n",
        b"get q/peek/abort\r\n",
        b"get q/open/close/abort/peek\r\n",
    ] {
        assert_eq!(fatal(input), "options exclude each other", "{}", input.escape_ascii());
    }
    assert_eq!(fatal(b"get q/t=\r\n"), "bad t= ''");
    assert_eq!(fatal(b"get q/t=1s\r\n"), "bad t= '1s'");
    assert_eq!(fatal(b"get q/t=2147483648\r\n"), "bad t= '2147483648'");
    // A bad wait that a later one would overrule is still bad.
    assert_eq!(fatal(b"get q/t=x/t=1\r\n"), "bad t= 'x'");
}

#[test]
fn delete_and_flush() {
    let delete = |noreply| Request::Delete { key: bytes(b"q"), noreply };
    assert_eq!(request(b"delete q\r\n"), delete(false));
    assert_eq!(request(b"delete q 0\r\n"), delete(false));
    assert_eq!(request(b"delete q noreply\r\n"), delete(true));
    assert_eq!(request(b"delete q 0 noreply\r\n"), delete(true));
    let named_noreply = Request::Delete { key: bytes(b"noreply"), noreply: false };
    assert_eq!(request(b"delete noreply\r\n"), named_noreply);
    assert_eq!(request(b"flush q\r\n"), Request::Flush { key: bytes(b"q") });
    assert_eq!(request(b"flush a.b x\r\n"), Request::Flush { key: bytes(b"a.b") });
    assert_eq!(malformed(b"delete\r\n"), "missing queue name");
    assert_eq!(malformed(b"flush  \r\n"), "missing queue name");
}

#[test]
fn what_is_no_command_closes() {
    for (input, word) in [
        (&b"\r\n"[..], ""),
        (b"\n", ""),
        (b"   \r\n", ""),
        (b"add q 0 0 1\r\nx\r\n", "add"),
        (b"replace q 0 0 1\r\nx\r\n", "replace"),
        (b"append q 0 0 1\r\nx\r\n", "append"),
        (b"prepend q 0 0 1\r\nx\r\n", "prepend"),
        (b"cas q 0 0 1 5\r\nx\r\n", "cas"),
        (b"incr q 1\r\n", "incr"),
        (b"dump_config\r\n", "dump_config"),
        (b"capabilitiesxxxxx\r\n", "capabilitiesxxxxx"),
        (b"\x80get q\r\n", "\\x80get"),
    ] {
        let reason = std::format!("unknown command '{word}'");
        assert_eq!(fatal(input), reason, "{}", input.escape_ascii());
    }
}

#[test]
fn nul_and_cr_never_pass() {
    for input in [
        &b"get q\0\r\n"[..],
        b"\0\r\n",
        b"get q\rx\r\n",
        b"version\r\r\n",
        b"\rversion\r\n",
        b"set q 0 0 1\0\r\nx\r\n",
        b"put q\r 1\r\nx\r\n",
    ] {
        assert_eq!(fatal(input), "NUL or CR inside a line", "{}", input.escape_ascii());
    }
}

#[test]
fn the_rest_of_kestrels_commands() {
    let monitor =
        |wait_ms, max| Request::Monitor { key: bytes(b"q"), wait_ms, max, close_all: false };
    let cases = [
        (&b"monitor q 5\r\n"[..], monitor(5000, None)),
        (b"MONITOR q 0 3\r\n", monitor(0, Some(3))),
        (b"monitor q -1 -1\r\n", monitor(0, Some(0))),
        (b"monitor q 2147483647\r\n", monitor(2_147_483_647_000, None)),
        (b"confirm q 3\r\n", Request::Confirm { key: bytes(b"q"), count: 3 }),
        (b"confirm q -3 x\r\n", Request::Confirm { key: bytes(b"q"), count: -3 }),
        (b"flush_expired q.x\r\n", Request::FlushExpired { key: bytes(b"q.x") }),
        (b"flush_all_expired now\r\n", Request::FlushAllExpired),
        (b"dump_stats\r\n", Request::DumpStats { keys: vec![] }),
        (b"dump_stats a b/c\r\n", Request::DumpStats { keys: vec![bytes(b"a"), bytes(b"b/c")] }),
        (b"status\r\n", Request::Status { set: None }),
        (b"STATUS ReadOnly x\r\n", Request::Status { set: Some(bytes(b"ReadOnly")) }),
        (b"reload\r\n", Request::Reload),
        (b"shutdown\r\n", Request::Shutdown),
        (b"verbosity 1\r\n", Request::Verbosity { noreply: false }),
        (b"verbosity 1 noreply\r\n", Request::Verbosity { noreply: true }),
        (b"mn\r\n", Request::MetaNoop),
    ];
    for (line, expected) in cases {
        assert_eq!(request(line), expected, "{}", line.escape_ascii());
    }
}

#[test]
fn where_kestrel_closes_for_a_missing_or_bad_argument_so_do_we() {
    for (line, reason) in [
        (&b"monitor\r\n"[..], "missing queue name"),
        (b"monitor q\r\n", "missing timeout"),
        (b"monitor q x\r\n", "bad timeout 'x'"),
        (b"monitor q 1 x\r\n", "bad max 'x'"),
        (b"monitor q 2147483648\r\n", "bad timeout '2147483648'"),
        (b"confirm q x\r\n", "bad count 'x'"),
        (b"flush_expired\r\n", "missing queue name"),
    ] {
        match all(line).as_slice() {
            [Event::Fatal(fatal)] => assert_eq!(fatal.text(), reason),
            other => panic!("{}: {other:?}", line.escape_ascii()),
        }
    }
    for (line, reason) in
        [(&b"confirm\r\n"[..], "missing queue name"), (b"confirm q\r\n", "missing count")]
    {
        match request(line) {
            Request::Malformed { error, noreply: false } => assert_eq!(error.text(), reason),
            other => panic!("{}: {other:?}", line.escape_ascii()),
        }
    }
}
