//! What is said to each kind of server, and where its answers end.
//!
//! Must not: do I/O. The generator asks for bytes once per connection where they are always the same, so that speaking costs it next to nothing.

use std::ops::Range;

/// A whole answer at the begin of what was received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Its length, and that of what the server said before without being asked.
    pub(crate) bytes: usize,
    pub(crate) kind: Kind,
}

/// What it says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What was asked for is done.
    Done,
    /// An item; in this range stands what acknowledges it, in the other its body.
    Item { held: Range<usize>, body: Range<usize> },
    /// There is no item.
    Nothing,
    /// It will not.
    Refused,
}

/// One protocol. Each connection has a number, for servers on which it needs names of its own.
pub(crate) trait Wire: Sync {
    /// What a connection says first; it is not answered.
    fn hello(&self, _connection: usize) -> Vec<u8> {
        Vec::new()
    }

    /// Puts an item on the queue.
    fn put(&self, connection: usize, body: &[u8]) -> Vec<u8>;

    /// Takes an item so that it is not lost with the connection, waiting for so many milliseconds at most.
    fn reserve(&self, connection: usize, wait_ms: u32) -> Vec<u8>;

    /// Takes an item for good in one request, where there is such a thing.
    fn pop(&self, _wait_ms: u32) -> Option<Vec<u8>> {
        None
    }

    /// What is held is done.
    fn ack(&self, connection: usize, held: &[u8], out: &mut Vec<u8>);

    /// The answer to a request of so many bytes, if all of it is there.
    fn reply(&self, input: &[u8], sent: usize) -> Option<Reply>;
}

/// Where the first line ends, its CRLF included.
fn line_end(input: &[u8]) -> Option<usize> {
    input.iter().position(|&byte| byte == b'\n').map(|at| at + 1)
}

/// The range of a word of a line, counted from 0.
fn word(line: &[u8], index: usize) -> Option<Range<usize>> {
    let mut begin = 0;
    for part in 0.. {
        let rest = &line[begin..];
        let length = rest.iter().position(|&byte| matches!(byte, b' ' | b'\r' | b'\n'));
        let length = length.unwrap_or(rest.len());
        if part == index {
            return (length > 0).then_some(begin..begin + length);
        }
        begin += length + 1;
        if begin >= line.len() {
            break;
        }
    }
    None
}

fn number(line: &[u8], index: usize) -> Option<usize> {
    std::str::from_utf8(&line[word(line, index)?]).ok()?.parse().ok()
}

fn whole(bytes: usize, kind: Kind) -> Option<Reply> {
    Some(Reply { bytes, kind })
}

/// A head line, the body, CRLF, and so many bytes more.
fn item(input: &[u8], end: usize, body: usize, more: usize, held: Range<usize>) -> Option<Reply> {
    let bytes = end + body + 2 + more;
    (input.len() >= bytes)
        .then_some(Reply { bytes, kind: Kind::Item { held, body: end..end + body } })
}

/// Kestrel's words, those of memcached for puts among them.
pub(crate) struct Kestrel {
    /// A name per connection: memcached has no queues, and many clients that write one key would wait for one another.
    pub(crate) is_queue: bool,
}

impl Wire for Kestrel {
    fn put(&self, connection: usize, body: &[u8]) -> Vec<u8> {
        let name = if self.is_queue { "bench".to_owned() } else { format!("bench{connection}") };
        let head = format!("set {name} 0 0 {}\r\n", body.len());
        [head.as_bytes(), body, b"\r\n"].concat()
    }

    fn reserve(&self, _connection: usize, wait_ms: u32) -> Vec<u8> {
        match wait_ms {
            0 => b"get bench/open\r\n".to_vec(),
            wait_ms => format!("get bench/t={wait_ms}/open\r\n").into_bytes(),
        }
    }

    fn pop(&self, wait_ms: u32) -> Option<Vec<u8>> {
        Some(match wait_ms {
            0 => b"get bench\r\n".to_vec(),
            wait_ms => format!("get bench/t={wait_ms:04}\r\n").into_bytes(),
        })
    }

    fn ack(&self, _connection: usize, _held: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"get bench/close\r\n");
    }

    fn reply(&self, input: &[u8], sent: usize) -> Option<Reply> {
        const CLOSE: usize = b"get bench/close\r\n".len();
        let end = line_end(input)?;
        match &input[..end] {
            b"STORED\r\n" => whole(end, Kind::Done),
            b"END\r\n" if sent == CLOSE => whole(end, Kind::Done),
            b"END\r\n" => whole(end, Kind::Nothing),
            line if line.starts_with(b"VALUE ") => item(input, end, number(line, 3)?, 5, 0..0),
            _ => whole(end, Kind::Refused),
        }
    }
}

/// KQueue's own words.
pub(crate) struct Extended;

impl Wire for Extended {
    fn put(&self, _connection: usize, body: &[u8]) -> Vec<u8> {
        [format!("put bench {}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
    }

    fn reserve(&self, _connection: usize, wait_ms: u32) -> Vec<u8> {
        format!("reserve 1 {wait_ms} 0 bench\r\n").into_bytes()
    }

    fn ack(&self, _connection: usize, held: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"ack bench ");
        out.extend_from_slice(held);
        out.extend_from_slice(b"\r\n");
    }

    fn reply(&self, input: &[u8], _sent: usize) -> Option<Reply> {
        let end = line_end(input)?;
        match &input[..end] {
            b"OK\r\n" => whole(end, Kind::Done),
            b"END\r\n" => whole(end, Kind::Nothing),
            line if line.starts_with(b"STORED ") => whole(end, Kind::Done),
            line if line.starts_with(b"ITEM ") => {
                item(input, end, number(line, 6)?, 5, word(line, 2)?)
            }
            _ => whole(end, Kind::Refused),
        }
    }
}

/// beanstalkd's, on the tube that every connection begins with.
pub(crate) struct Beanstalk;

impl Wire for Beanstalk {
    fn put(&self, _connection: usize, body: &[u8]) -> Vec<u8> {
        [format!("put 0 0 600 {}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
    }

    fn reserve(&self, _connection: usize, wait_ms: u32) -> Vec<u8> {
        format!("reserve-with-timeout {}\r\n", wait_ms.div_ceil(1000)).into_bytes()
    }

    fn ack(&self, _connection: usize, held: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"delete ");
        out.extend_from_slice(held);
        out.extend_from_slice(b"\r\n");
    }

    fn reply(&self, input: &[u8], _sent: usize) -> Option<Reply> {
        let end = line_end(input)?;
        match &input[..end] {
            b"DELETED\r\n" => whole(end, Kind::Done),
            b"TIMED_OUT\r\n" => whole(end, Kind::Nothing),
            line if line.starts_with(b"INSERTED ") => whole(end, Kind::Done),
            line if line.starts_with(b"RESERVED ") => {
                item(input, end, number(line, 2)?, 0, word(line, 1)?)
            }
            _ => whole(end, Kind::Refused),
        }
    }
}

/// Redis' lists: what is held waits in a list of the connection's own, as its manual advises for reliable queues.
pub(crate) struct Redis;

fn command(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

impl Wire for Redis {
    fn put(&self, _connection: usize, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        command(&[b"LPUSH", b"bench", body], &mut out);
        out
    }

    fn reserve(&self, connection: usize, wait_ms: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let open = format!("open{connection}").into_bytes();
        match wait_ms {
            0 => command(&[b"RPOPLPUSH", b"bench", &open], &mut out),
            wait_ms => {
                let wait = format!("{:.3}", f64::from(wait_ms) / 1000.0).into_bytes();
                command(&[b"BRPOPLPUSH", b"bench", &open, &wait], &mut out);
            }
        }
        out
    }

    fn pop(&self, wait_ms: u32) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        command(&[b"RPOP", b"bench"], &mut out);
        (wait_ms == 0).then_some(out)
    }

    fn ack(&self, connection: usize, held: &[u8], out: &mut Vec<u8>) {
        command(&[b"LREM", format!("open{connection}").as_bytes(), b"1", held], out);
    }

    fn reply(&self, input: &[u8], _sent: usize) -> Option<Reply> {
        let end = line_end(input)?;
        match &input[..end] {
            b"$-1\r\n" | b"*-1\r\n" => whole(end, Kind::Nothing),
            line if line[0] == b'$' => {
                let length = number(&line[1..], 0)?;
                item(input, end, length, 0, end..end + length)
            }
            line if line[0] == b'+' || line[0] == b':' => whole(end, Kind::Done),
            _ => whole(end, Kind::Refused),
        }
    }
}

/// Publishing to a JetStream stream, each with its acknowledgement.
pub(crate) struct Nats;

impl Wire for Nats {
    fn hello(&self, connection: usize) -> Vec<u8> {
        format!("CONNECT {{\"verbose\":false}}\r\nSUB inbox.{connection} 1\r\n").into_bytes()
    }

    fn put(&self, connection: usize, body: &[u8]) -> Vec<u8> {
        let head = format!("PUB bench inbox.{connection} {}\r\n", body.len());
        [head.as_bytes(), body, b"\r\n"].concat()
    }

    fn reserve(&self, _connection: usize, _wait_ms: u32) -> Vec<u8> {
        unreachable!("NATS takes part in puts only")
    }

    fn ack(&self, _connection: usize, _held: &[u8], _out: &mut Vec<u8>) {
        unreachable!("NATS takes part in puts only")
    }

    fn reply(&self, input: &[u8], _sent: usize) -> Option<Reply> {
        let mut begin = 0;
        loop {
            let end = begin + line_end(&input[begin..])?;
            let line = &input[begin..end];
            if line.starts_with(b"MSG ") {
                // The last word: before it the server leaves room for a reply's name.
                let length = line.trim_ascii_end().rsplit(|&byte| byte == b' ').next()?;
                let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
                let body = input.get(end..end + length + 2)?;
                let is_error = body.windows(7).any(|part| part == b"\"error\"");
                let kind = if is_error { Kind::Refused } else { Kind::Done };
                return whole(end + length + 2, kind);
            }
            if line.starts_with(b"-ERR") {
                return whole(end, Kind::Refused);
            }
            begin = end;
        }
    }
}

/// Whatever is sent comes back.
pub(crate) struct Echo;

impl Wire for Echo {
    fn put(&self, connection: usize, body: &[u8]) -> Vec<u8> {
        Extended.put(connection, body)
    }

    fn reserve(&self, _connection: usize, _wait_ms: u32) -> Vec<u8> {
        unreachable!("an echo server has no items")
    }

    fn ack(&self, _connection: usize, _held: &[u8], _out: &mut Vec<u8>) {
        unreachable!("an echo server has no items")
    }

    fn reply(&self, input: &[u8], sent: usize) -> Option<Reply> {
        (input.len() >= sent).then_some(Reply { bytes: sent, kind: Kind::Done })
    }
}

#[cfg(test)]
mod tests {
    use super::{Beanstalk, Echo, Extended, Kestrel, Kind, Nats, Redis, Wire};

    /// Each answer is found when its last byte has come, not before, and nothing of the next one is taken.
    fn assert_replies(wire: &dyn Wire, sent: usize, input: &[u8], expected: &[Kind]) {
        let mut rest = input;
        for kind in expected {
            let reply = wire.reply(rest, sent).expect("a whole answer");
            assert_eq!(&reply.kind, kind);
            for end in 0..reply.bytes {
                assert_eq!(wire.reply(&rest[..end], sent), None, "{end}");
            }
            rest = &rest[reply.bytes..];
        }
        assert_eq!(rest, b"");
    }

    #[test]
    fn answers_end_where_they_end() {
        let is_queue = true;
        let value = b"VALUE bench 0 3\r\na\r\n\r\nEND\r\n";
        assert_replies(
            &Kestrel { is_queue },
            16,
            value,
            &[Kind::Item { held: 0..0, body: 17..20 }],
        );
        assert_replies(
            &Kestrel { is_queue },
            16,
            b"END\r\nSTORED\r\n",
            &[Kind::Nothing, Kind::Done],
        );
        assert_replies(&Kestrel { is_queue }, 17, b"END\r\n", &[Kind::Done]);
        let held = b"ITEM bench 17 0 1 5 3\r\nabc\r\nEND\r\nOK\r\nNOT_HELD\r\nSTORED 18\r\n";
        let item = Kind::Item { held: 11..13, body: 23..26 };
        assert_replies(&Extended, 0, held, &[item, Kind::Done, Kind::Refused, Kind::Done]);
        let held = b"INSERTED 1\r\nRESERVED 17 3\r\nabc\r\nDELETED\r\nTIMED_OUT\r\n";
        let item = Kind::Item { held: 9..11, body: 15..18 };
        assert_replies(&Beanstalk, 0, held, &[Kind::Done, item, Kind::Done, Kind::Nothing]);
        let held = b":12\r\n$3\r\nabc\r\n:1\r\n$-1\r\n-OOM\r\n";
        let item = Kind::Item { held: 4..7, body: 4..7 };
        let expected = [Kind::Done, item, Kind::Done, Kind::Nothing, Kind::Refused];
        assert_replies(&Redis, 0, held, &expected);
        let acked = b"INFO {}\r\nPING\r\nMSG inbox.1 1  9\r\n{\"seq\":1}\r\n";
        assert_replies(&Nats, 0, acked, &[Kind::Done]);
        assert_replies(&Echo, 4, b"abcdabcd", &[Kind::Done, Kind::Done]);
    }

    #[test]
    fn what_acknowledges_an_item_is_what_came_with_it() {
        let mut out = Vec::new();
        Extended.ack(3, b"17", &mut out);
        Beanstalk.ack(3, b"18", &mut out);
        Redis.ack(3, b"abc", &mut out);
        let expected = "ack bench 17\r\ndelete 18\r\n*4\r\n$4\r\nLREM\r\n$5\r\nopen3\r\n$1\r\n1\r\n$3\r\nabc\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
