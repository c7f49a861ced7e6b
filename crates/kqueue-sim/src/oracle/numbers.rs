//! The numbers by which any client can settle what any other one fetched.
//!
//! A number stands for one item in one pair of hands: once that has returned, been settled or been given to somebody else, the number does nothing. Must not: know leases of other kinds.

use std::collections::BTreeMap;

use super::{Check, ConnId, Moment, Oracle};
use crate::queues::{Queue, way};

/// What clients tell each other of a fetched item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    pub(crate) number: i64,
    pub(crate) owner: ConnId,
    pub(crate) queue: Queue,
    pub(crate) put: usize,
    /// On the monotonic clock: until then it is certainly held.
    pub(crate) until_ms: u64,
    /// Requests to settle it that were sent.
    asked: u32,
    /// It was settled: the server said so.
    is_settled: bool,
    /// The step in which somebody else was seen to have got the item.
    ended: Option<u64>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    given: BTreeMap<i64, Number>,
}

impl Numbers {
    /// The server has ended; numbers begin anew.
    pub(crate) fn forget(&mut self) {
        self.given.clear();
    }

    /// Those that are known.
    pub(crate) fn known(&self) -> impl DoubleEndedIterator<Item = &Number> {
        self.given.values()
    }

    /// An item was seen in somebody's hands: numbers from before are over.
    pub(crate) fn end_others(&mut self, at: Moment, put: usize, root: Queue) {
        let is_it = |one: &&mut Number| one.put == put && way(root).contains(&one.queue);
        for number in self.given.values_mut().filter(is_it) {
            number.ended = number.ended.or(Some(at.step));
        }
    }
}

impl Oracle {
    /// An item came with a number.
    pub(crate) fn number_given(
        &mut self,
        number: i64,
        owner: ConnId,
        queue: Queue,
        put: usize,
        until_ms: u64,
    ) -> Check {
        let given = Number {
            number,
            owner,
            queue,
            put,
            until_ms,
            asked: 0,
            is_settled: false,
            ended: None,
        };
        if number <= 0 {
            return Err(format!("{number} is no number"));
        }
        match self.numbers.given.insert(number, given) {
            None => Ok(()),
            Some(old) => Err(format!("number {number} was given to connection {}", old.owner)),
        }
    }

    /// A client confirms these numbers or gives their items back.
    pub(crate) fn settle_sent(&mut self, numbers: &[i64], abort: bool) {
        for number in numbers {
            let Some(one) = self.numbers.given.get_mut(number) else { continue };
            one.asked += 1;
            let Number { owner, queue, put, .. } = *one;
            match abort {
                true => self.release_sent(owner, queue, put),
                false => self.ack_sent(queue, put),
            }
        }
    }

    /// So many of them were settled, says the server.
    pub(crate) fn settled(
        &mut self,
        asked: Moment,
        at: Moment,
        numbers: &[i64],
        abort: bool,
        count: u64,
    ) -> Check {
        let given = &self.numbers.given;
        let known: Vec<Number> = numbers.iter().filter_map(|one| given.get(one)).copied().collect();
        let is_over = |one: &Number| one.ended.is_some_and(|step| step < asked.step);
        let possible = known.iter().filter(|one| !one.is_settled && !is_over(one));
        let is_certain =
            |one: &&Number| one.asked == 1 && at.mono_ms < one.until_ms && one.ended.is_none();
        let certain = possible.clone().filter(is_certain).count() as u64;
        let possible = possible.count() as u64;
        if self.is_damage_told {
            return Ok(());
        }
        if count < certain {
            return Err(format!("{certain} of them are held, says nobody else"));
        }
        if count > possible {
            return Err(format!("only {possible} of them can be held"));
        }
        if count == numbers.len() as u64 {
            for one in known {
                if let Some(given) = self.numbers.given.get_mut(&one.number) {
                    given.is_settled = true;
                }
                if !abort {
                    self.acked(at, one.owner, one.queue, one.put);
                }
            }
        }
        Ok(())
    }
}
