//! The load generator: requests are pipelined, many per write, and every reply is looked at.
//!
//! Every item says which one it is, so that a lost, doubled, changed or misplaced one shows when it is taken.
//!
//! Must not: be what is measured. One thread and one connection ask for more than the server can do.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::server::Server;
use crate::storage::watch::{Watch, in_log};

/// Room for replies; larger than any single one.
const INPUT_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of bodies that are on their way at a time.
const WINDOW_BYTES: u64 = 512 * 1024;
/// Requests that are on their way at a time, at most. Their bytes, when they are gets, fit into the sockets' buffers: nobody waits in a circle.
const WINDOW_MAX: u64 = 4096;
/// Which item it is, in front of every body.
const SEQUENCE_BYTES: usize = 8;

/// A reply, without its syntax.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    Stored,
    /// The body of the item that a `get` returned.
    Item(&'a [u8]),
    /// A `get` that returned nothing, or the end of something else.
    End,
    Other(&'a [u8]),
}

impl Reply<'_> {
    pub(crate) fn expect_stored(&self) {
        assert!(*self == Reply::Stored, "a put was not stored: {}", self.text());
    }

    fn text(&self) -> String {
        match self {
            Reply::Other(line) => String::from_utf8_lossy(line).into_owned(),
            reply => format!("{reply:.60?}"),
        }
    }
}

/// The first reply in these bytes and its length, if it is whole.
fn parse(bytes: &[u8]) -> Option<(Reply<'_>, usize)> {
    let line_end = bytes.iter().position(|&byte| byte == b'\n')? + 1;
    let line = bytes[..line_end].trim_ascii_end();
    if let Some(head) = line.strip_prefix(b"VALUE ") {
        let digits = head.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
        let body_bytes = digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        let end = line_end + body_bytes + b"\r\nEND\r\n".len();
        let body = line_end..line_end + body_bytes;
        return (bytes.len() >= end).then(|| (Reply::Item(&bytes[body]), end));
    }
    let reply = match line {
        b"STORED" => Reply::Stored,
        b"END" => Reply::End,
        other => Reply::Other(other),
    };
    Some((reply, line_end))
}

/// Bytes that are no pattern to anybody; where an item's body begins in them depends on the item.
fn filler() -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..4096).map(|_| next()).collect()
}

/// Items of one length.
pub(crate) struct Items {
    pub(crate) body_bytes: usize,
    filler: Vec<u8>,
}

impl Items {
    pub(crate) fn new(body_bytes: usize) -> Self {
        assert!((SEQUENCE_BYTES..=1024).contains(&body_bytes), "a length that the filler covers");
        Self { body_bytes, filler: filler() }
    }

    fn rest(&self, sequence: u64) -> &[u8] {
        let begin = (sequence % 1009) as usize;
        &self.filler[begin..begin + self.body_bytes - SEQUENCE_BYTES]
    }

    /// Appends the request that puts this item.
    pub(crate) fn put(&self, queue: &str, sequence: u64, out: &mut Vec<u8>) {
        // Writing to memory does not fail.
        let _ = write!(out, "set {queue} 0 0 {}\r\n", self.body_bytes);
        self.append_body(sequence, out);
    }

    /// The same as an extended command, which is answered with `STORED <id>`.
    pub(crate) fn put_delayed(&self, queue: &str, sequence: u64, delay_ms: u64, out: &mut Vec<u8>) {
        let _ = write!(out, "put {queue} {} delay={delay_ms}\r\n", self.body_bytes);
        self.append_body(sequence, out);
    }

    fn append_body(&self, sequence: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&sequence.to_le_bytes());
        out.extend_from_slice(self.rest(sequence));
        out.extend_from_slice(b"\r\n");
    }

    pub(crate) fn is(&self, sequence: u64, body: &[u8]) -> bool {
        body.len() == self.body_bytes
            && body[..SEQUENCE_BYTES] == sequence.to_le_bytes()
            && body[SEQUENCE_BYTES..] == *self.rest(sequence)
    }

    /// So many requests are on their way at a time.
    pub(crate) fn window(&self) -> u64 {
        (WINDOW_BYTES / self.body_bytes as u64).min(WINDOW_MAX)
    }
}

/// What taking items showed.
pub(crate) struct Drained {
    pub(crate) elapsed: Duration,
    /// Items that were not there, not whole, or not the one whose turn it was.
    pub(crate) wrong: u64,
}

/// One connection.
pub(crate) struct Pipe {
    stream: TcpStream,
    input: Vec<u8>,
    begin: usize,
    end: usize,
    output: Vec<u8>,
}

impl Pipe {
    pub(crate) fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address).expect("the server listens");
        stream.set_nodelay(true).expect("nodelay");
        Self { stream, input: vec![0; INPUT_BYTES], begin: 0, end: 0, output: Vec::new() }
    }

    /// Sends what `request` appends for 0 to `count`, at most `window` ahead of the replies, and shows each reply to `see`. One reply per request.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn try_pump(
        &mut self,
        count: u64,
        window: u64,
        mut request: impl FnMut(u64, &mut Vec<u8>),
        mut see: impl FnMut(u64, &Reply<'_>),
    ) -> io::Result<()> {
        let batch = (window / 4).max(1);
        let (mut sent, mut seen) = (0, 0);
        while seen < count {
            while sent < count && sent - seen + batch <= window {
                self.output.clear();
                let until = count.min(sent + batch);
                (sent..until).for_each(|index| request(index, &mut self.output));
                self.stream.write_all(&self.output)?;
                sent = until;
            }
            self.fill()?;
            while let Some((reply, bytes)) = parse(&self.input[self.begin..self.end]) {
                see(seen, &reply);
                self.begin += bytes;
                seen += 1;
            }
        }
        Ok(())
    }

    /// As [`Pipe::try_pump`], for whom a broken connection is a failure.
    pub(crate) fn pump(
        &mut self,
        count: u64,
        window: u64,
        request: impl FnMut(u64, &mut Vec<u8>),
        see: impl FnMut(u64, &Reply<'_>),
    ) {
        self.try_pump(count, window, request, see).expect("the server answers");
    }

    fn fill(&mut self) -> io::Result<()> {
        self.input.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        let count = self.stream.read(&mut self.input[self.end..])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += count;
        Ok(())
    }

    /// Sends something and waits for no reply.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends one request and returns the item that it brings, if it does.
    pub(crate) fn item(&mut self, request: &str) -> Option<Vec<u8>> {
        let mut item = None;
        let send = |_, out: &mut Vec<u8>| out.extend_from_slice(request.as_bytes());
        self.pump(1, 1, send, |_, reply| match reply {
            Reply::Item(body) => item = Some(body.to_vec()),
            Reply::End => {}
            reply => panic!("{request:?}: {}", reply.text()),
        });
        item
    }

    /// Puts the items from `first` on, and says how long that took until all were acknowledged.
    pub(crate) fn fill_queue(
        &mut self,
        queue: &str,
        items: &Items,
        first: u64,
        count: u64,
        watch: &Watch,
    ) -> Duration {
        let begin = Instant::now();
        let live = in_log(items.body_bytes as u64);
        self.pump(
            count,
            items.window(),
            |index, out| {
                watch.add_live(live);
                items.put(queue, first + index, out);
            },
            |_, reply| reply.expect_stored(),
        );
        begin.elapsed()
    }

    /// Takes items with `get`, and compares each with the one that must come.
    pub(crate) fn drain(
        &mut self,
        queue: &str,
        items: &Items,
        first: u64,
        count: u64,
        watch: &Watch,
    ) -> Drained {
        let begin = Instant::now();
        let request = format!("get {queue}\r\n");
        let live = in_log(items.body_bytes as u64);
        let mut wrong = 0;
        self.pump(
            count,
            items.window(),
            |_, out| out.extend_from_slice(request.as_bytes()),
            |index, reply| {
                watch.remove_live(live);
                let is_right = matches!(reply, Reply::Item(body) if items.is(first + index, body));
                wrong += u64::from(!is_right);
            },
        );
        Drained { elapsed: begin.elapsed(), wrong }
    }
}

#[cfg(test)]
mod tests {
    use super::{Items, Reply, parse};

    #[test]
    fn a_reply_is_found_once_it_is_whole() {
        let bytes = b"VALUE a+b 7 4\r\n\r\nEN\r\nEND\r\nSTORED\r\nEND\r\nNOT_STORED\r\n";
        let mut at = 0;
        let mut seen = Vec::new();
        for end in 0..=bytes.len() {
            while let Some((reply, length)) = parse(&bytes[at..end]) {
                seen.push(format!("{reply:?}"));
                at += length;
            }
        }
        let expected =
            [Reply::Item(b"\r\nEN"), Reply::Stored, Reply::End, Reply::Other(b"NOT_STORED")];
        assert_eq!(seen, expected.map(|reply| format!("{reply:?}")));
        assert_eq!(at, bytes.len());
    }

    #[test]
    fn another_item_or_a_changed_one_is_noticed() {
        let items = Items::new(64);
        let mut request = Vec::new();
        items.put("q", 5, &mut request);
        let head = b"set q 0 0 64\r\n".len();
        let mut body = request[head..head + 64].to_vec();
        assert!(request.starts_with(b"set q 0 0 64\r\n") && request.ends_with(b"\r\n"));
        assert!(items.is(5, &body));
        assert!(!items.is(6, &body));
        assert!(!items.is(5, &body[1..]));
        body[63] ^= 1;
        assert!(!items.is(5, &body));
    }
}
