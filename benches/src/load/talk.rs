//! One connection that waits for its answers: what prepares and empties servers, and what Kestrel's own load tools consist of.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::load::wire::{Kind, Wire};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Requests that are sent before the first answer is read.
const BATCH: usize = 100;

/// See the module's description.
pub(crate) struct Talk<'a> {
    wire: &'a dyn Wire,
    number: usize,
    stream: TcpStream,
    input: Vec<u8>,
    begin: usize,
    end: usize,
}

/// An item that was taken.
pub(crate) struct Taken {
    pub(crate) body: Vec<u8>,
    held: Vec<u8>,
}

impl<'a> Talk<'a> {
    pub(crate) fn connect(address: SocketAddr, wire: &'a dyn Wire, number: usize) -> Self {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        stream.write_all(&wire.hello(number)).expect("the server takes requests");
        Self { wire, number, stream, input: vec![0; 256 * 1024], begin: 0, end: 0 }
    }

    fn answer(&mut self, sent: usize) -> Option<Taken> {
        loop {
            let input = &self.input[self.begin..self.end];
            if let Some(reply) = self.wire.reply(input, sent) {
                self.begin += reply.bytes;
                return match reply.kind {
                    Kind::Done => Some(Taken { body: Vec::new(), held: Vec::new() }),
                    Kind::Item { held, body } => {
                        Some(Taken { body: input[body].to_vec(), held: input[held].to_vec() })
                    }
                    Kind::Nothing => None,
                    Kind::Refused => panic!("refused: {}", String::from_utf8_lossy(input)),
                };
            }
            self.input.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
            let bytes = self.stream.read(&mut self.input[self.end..]).expect("the server answers");
            assert!(bytes > 0, "the server closed the connection");
            self.end += bytes;
        }
    }

    /// Sends anything that is answered like a put.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Option<Taken> {
        self.stream.write_all(request).expect("the server takes requests");
        self.answer(request.len())
    }

    pub(crate) fn put(&mut self, body: &[u8]) {
        let request = self.wire.put(self.number, body);
        self.ask(&request).expect("stored");
    }

    /// Puts the same again and again, without waiting for each answer.
    pub(crate) fn fill(&mut self, body: &[u8], count: usize) {
        let request = self.wire.put(self.number, body);
        let many = request.repeat(BATCH);
        for _ in 0..count.div_ceil(BATCH) {
            self.stream.write_all(&many).expect("the server takes requests");
            for _ in 0..BATCH {
                self.answer(request.len()).expect("stored");
            }
        }
    }

    pub(crate) fn reserve(&mut self, wait_ms: u32) -> Option<Taken> {
        let request = self.wire.reserve(self.number, wait_ms);
        self.ask(&request)
    }

    pub(crate) fn ack(&mut self, taken: &Taken) {
        let mut request = Vec::new();
        self.wire.ack(self.number, &taken.held, &mut request);
        self.ask(&request).expect("acknowledged");
    }

    /// Takes an item for good; reserves and acknowledges it where there is no shorter way.
    pub(crate) fn take(&mut self, wait_ms: u32) -> Option<Vec<u8>> {
        if let Some(request) = self.wire.pop(wait_ms) {
            return self.ask(&request).map(|taken| taken.body);
        }
        let taken = self.reserve(wait_ms)?;
        self.ack(&taken);
        Some(taken.body)
    }
}
