//! Simple requests, which the world makes when it wants to know something.
//!
//! Must not: judge.

use crate::conn::{Conn, ITEM_BYTES_MAX, Want};
use crate::oracle::{Expiry, How, Moment, Oracle, body};
use crate::queues::{Queue, depends, targets};

impl Conn {
    /// A short put that is answered.
    pub(crate) fn put_acknowledged(&mut self, at: Moment, queue: Queue, oracle: &mut Oracle) {
        self.put_plain(at, queue, 10, oracle);
    }

    /// A put of nearly the largest item, which is answered.
    pub(crate) fn put_large(&mut self, at: Moment, queue: Queue, oracle: &mut Oracle) {
        self.put_plain(at, queue, ITEM_BYTES_MAX - 20, oracle);
    }

    fn put_plain(&mut self, at: Moment, queue: Queue, filler: usize, oracle: &mut Oracle) {
        let number = oracle.next_put();
        let body = body(number, filler);
        let (to, targets) = (depends(queue), targets(queue));
        oracle.put_sent(at, self.id, to, targets, 0, Expiry::default(), body.clone());
        self.send(format!("set {queue} 0 0 {}\r\n", body.len()).as_bytes());
        self.send(&body);
        self.send(b"\r\n");
        self.put_ends.push_back((self.sent_bytes, number));
        self.await_answer(at, Want::Put(number));
    }

    /// A plain get that does not wait.
    pub(crate) fn get_now(&mut self, at: Moment, queue: Queue) {
        self.ask(
            at,
            &format!("get {queue}\r\n"),
            Want::Get { queue, how: How::Taken, closes: None },
        );
    }
}
