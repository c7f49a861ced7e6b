//! A client of Thrift's kind: several items at a time, and what is fetched belongs to whoever knows its number.
//!
//! Must not: judge.

use fastrand::Rng;

use crate::conn::{Asked, Conn, ITEM_BYTES_MAX, LEASE_MS_MAX, Want, consumed};
use crate::oracle::{Expiry, How, Moment, Oracle, Refusal, Shown, body};
use crate::queues::{PRODUCED, PRODUCED_TOO, Queue, depends, has_ttl, targets};
use crate::reply::Part;

impl Conn {
    pub(super) fn work(&mut self, rng: &mut Rng, at: Moment, oracle: &mut Oracle) {
        match rng.u32(..20) {
            0..4 => self.put_all(rng, at, oracle),
            4..11 => self.fetch(rng, at, oracle),
            11..18 => self.settle(rng, at, oracle),
            18 => {
                let queue = consumed(rng, &self.extras);
                self.ask(at, &format!("info {queue}\n"), Want::Info(queue));
            }
            _ => {}
        }
    }

    fn put_all(&mut self, rng: &mut Rng, at: Moment, oracle: &mut Oracle) {
        let queue = match rng.u32(..3) {
            0 if self.extras.turns() => PRODUCED_TOO[rng.usize(..PRODUCED_TOO.len())],
            _ => PRODUCED[rng.usize(..PRODUCED.len())],
        };
        let after_ms = if has_ttl(queue) { rng.u64(500..4000) } else { 0 };
        let earliest_ms = if after_ms == 0 { 0 } else { at.wall_ms + after_ms };
        let expiry = Expiry { earliest_ms, latest_ms: 0 };
        let (mut bodies, mut puts) = (Vec::new(), Vec::new());
        // Now and then more than a segment holds.
        let (count_end, filler_end) = match rng.u32(..20) {
            0 => (12, ITEM_BYTES_MAX - 20),
            _ => (6, 1000),
        };
        for _ in 0..rng.usize(..count_end) {
            let number = oracle.next_put();
            let body = body(number, rng.usize(..filler_end));
            let (to, targets) = (depends(queue), targets(queue));
            oracle.put_sent(at, self.id, to, targets, 0, expiry, body.clone());
            bodies.push(body);
            puts.push(number);
        }
        let lengths: String = bodies.iter().map(|body| format!(" {}", body.len())).collect();
        self.send(format!("putall {queue} {after_ms}{lengths}\n").as_bytes());
        bodies.iter().for_each(|body| self.send(body));
        // Nothing of it is run before the last byte has come.
        let end = self.sent_bytes;
        self.put_ends.extend(puts.iter().map(|&put| (end, put)));
        self.await_answer(at, Want::PutAll(puts));
    }

    fn fetch(&mut self, rng: &mut Rng, at: Moment, oracle: &mut Oracle) {
        let queue = consumed(rng, &self.extras);
        let max = rng.u32(..8);
        let wait_ms = if rng.bool() { rng.u64(1..200) } else { 0 };
        let auto_abort_ms = if rng.u32(..4) == 0 { 0 } else { rng.u64(20..LEASE_MS_MAX) };
        if auto_abort_ms > 0 {
            oracle.lease_asked_beyond(at, self.id, queue, auto_abort_ms);
        }
        let line = format!("fetch {queue} {max} {wait_ms} {auto_abort_ms}\n");
        self.ask(at, &line, Want::Fetch { queue, max, auto_abort_ms, left: None });
    }

    /// Its own or others', one or several, living or not, and now and then one that was never given.
    fn settle(&mut self, rng: &mut Rng, at: Moment, oracle: &mut Oracle) {
        let known: Vec<i64> = oracle.numbers.known().rev().map(|one| one.number).collect();
        let count = if rng.bool() { 1 } else { rng.usize(1..4) };
        let recent = known.len().min(if rng.u32(..4) == 0 { 60 } else { 6 });
        let mut numbers = rng.choose_multiple(known[..recent].iter().copied(), count);
        if rng.u32(..10) == 0 {
            numbers.push(rng.i64(1_000_000..2_000_000));
        }
        if numbers.is_empty() {
            return;
        }
        let abort = rng.u32(..4) == 0;
        oracle.settle_sent(&numbers, abort);
        let word = if abort { "abort" } else { "confirm" };
        let list: String = numbers.iter().map(|number| format!(" {number}")).collect();
        self.ask(at, &format!("settle {word}{list}\n"), Want::Settle { numbers, abort });
    }

    /// Takes in a part of an answer; true if it was the last one.
    pub(super) fn answer_worker(
        &mut self,
        asked: &Asked,
        part: &Part,
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<bool, String> {
        match (&asked.want, part) {
            (Want::PutAll(puts), Part::Line(line)) => {
                answer_put_all(puts, line, at, oracle).map(|()| true)
            }
            (Want::Settle { numbers, abort }, Part::Line(line)) => {
                let count = count_of(line, "COUNT ")?;
                oracle.settled(asked.at, at, numbers, *abort, count).map(|()| true)
            }
            (Want::Fetch { queue, max, auto_abort_ms, left }, part) => {
                let (queue, auto_abort_ms) = (*queue, *auto_abort_ms);
                let left = match (left, part) {
                    (None, Part::Line(line))
                        if auto_abort_ms > 0
                            && line.starts_with("SERVER_ERROR too much is fetched") =>
                    {
                        0
                    }
                    (None, Part::Line(line)) => {
                        let count = count_of(line, "FETCHED ")?;
                        let count = u32::try_from(count).map_err(|error| error.to_string())?;
                        if count > *max {
                            return Err(format!("more than {max}"));
                        }
                        count
                    }
                    (Some(left), Part::Got { number, body }) => {
                        self.receive_fetched(
                            asked,
                            queue,
                            auto_abort_ms,
                            *number,
                            body,
                            at,
                            oracle,
                        )?;
                        left - 1
                    }
                    _ => return Err("expected FETCHED or GOT".into()),
                };
                if let Some(front) = self.asked.front_mut() {
                    front.has_item = true;
                    front.want = Want::Fetch { queue, max: *max, auto_abort_ms, left: Some(left) };
                }
                if left == 0 && auto_abort_ms > 0 {
                    oracle.lease_answered(at, self.id, auto_abort_ms);
                }
                Ok(left == 0)
            }
            (Want::Info(_), Part::Line(line)) if line.starts_with("INFO ") => Ok(false),
            (Want::Info(_), Part::Line(line)) => match line == "END" || is_hidden(line) {
                true => Ok(true),
                false => Err("expected INFO or END".into()),
            },
            (Want::Info(queue), Part::Head { body }) => {
                let (how, conn) = (How::Peeked, self.id);
                // What a head tells nothing of is taken as it was put.
                let flags = oracle.flags_of(body);
                let shown = Shown { queue, flags, body, how, conn, asked: asked.at };
                oracle.shown(at, &shown).map(|_| false)
            }
            _ => Err("not an answer to this".into()),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "private, and each of them is needed")]
    fn receive_fetched(
        &mut self,
        asked: &Asked,
        queue: Queue,
        auto_abort_ms: u64,
        number: i64,
        body: &[u8],
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<(), String> {
        let until_ms = asked.at.mono_ms + auto_abort_ms;
        let how = if auto_abort_ms == 0 { How::Taken } else { How::Lent { until_ms } };
        let (flags, conn) = (oracle.flags_of(body), self.id);
        let shown = Shown { queue, flags, body, how, conn, asked: asked.at };
        let put = oracle.shown(at, &shown)?;
        match auto_abort_ms {
            0 if number == 0 => Ok(()),
            0 => Err("a number for what was taken for good".into()),
            _ => oracle.number_given(number, conn, queue, put, until_ms),
        }
    }
}

/// The first so many are kept, and the one behind them was refused.
fn answer_put_all(
    puts: &[usize],
    line: &str,
    at: Moment,
    oracle: &mut Oracle,
) -> Result<(), String> {
    if line.starts_with("SERVER_ERROR") {
        let is_unknown = line.contains("unknown");
        let mut refused = puts.iter().filter(|_| !is_unknown);
        return refused.try_for_each(|&put| oracle.put_refused(at, put, Refusal::Other));
    }
    let count = count_of(line, "COUNT ")?;
    let count = usize::try_from(count).map_err(|error| error.to_string())?;
    if count > puts.len() {
        return Err("more than were sent".into());
    }
    for (index, &put) in puts.iter().enumerate() {
        match index {
            _ if index < count => oracle.put_stored(at, put)?,
            _ if index == count => oracle.put_refused_by_any(at, put)?,
            _ => oracle.put_refused(at, put, Refusal::Other)?,
        }
    }
    Ok(())
}

fn count_of(line: &str, word: &str) -> Result<u64, String> {
    let number = line.strip_prefix(word).ok_or_else(|| format!("expected {word}"))?;
    number.parse().map_err(|_| "expected a number".into())
}

fn is_hidden(line: &str) -> bool {
    line.starts_with("CLIENT_ERROR an alias")
}
