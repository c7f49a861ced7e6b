//! What the clients saw, and whether a queue that keeps its promises could have shown it to them.
//!
//! The oracle knows no queue: it judges the history. It checks that nothing is invented or altered, nothing acknowledged is lost, nothing is held by two, nothing
//! confirmed comes back, a fanout is whole, and the order is kept among items that cannot have been returned. An item that expires or dies into another queue stays one item:
//! it is at one place, it goes only when it may, it does not return, and it is not lost on the way. What was in memory only is gone with its server, and stays away.
//! What was held and is not done comes again. Settings and status are judged by what was in force between question and answer.
//!
//! Must not: look into the broker.

use std::collections::BTreeMap;

use kqueue_broker::{Status, SyncPolicy};

use crate::queues::{Queue, way};
use crate::rules::{History, Rules};
use crate::scenario::Scenario;

mod course;
mod end;
mod force;
mod gone;
mod judge;
mod numbers;
mod order;
mod states;

pub(crate) use course::{Command, Options};
use course::{Course, Run};
use numbers::Numbers;
pub(crate) use states::{Found, reason};

/// A moment: the step of the simulation, and both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    pub(crate) step: u64,
    pub(crate) mono_ms: u64,
    pub(crate) wall_ms: u64,
}

/// When an item expires, unix time in milliseconds; 0: never. The server counts a time to live from when it runs the put, which the client does not see.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expiry {
    pub(crate) earliest_ms: u64,
    pub(crate) latest_ms: u64,
}

/// Names a connection, never reused.
pub(crate) type ConnId = u64;
/// An error is a broken promise, in words.
pub(crate) type Check = Result<(), String>;

/// Removals are synced within a second; this is for the time that the disk may take.
const REMOVAL_SLACK_MS: u64 = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody knows yet, or nobody will: it may be stored or not.
    Sent,
    Stored,
    /// Refused by one of the queues for which a name stands; others may have it.
    Partly,
    Refused,
}

/// Why a put is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is too much in a queue.
    Limit,
    /// The server's status.
    Status,
    /// The disk, or something else that may always be.
    Other,
}

#[derive(Debug)]
struct Put {
    body: Vec<u8>,
    flags: u32,
    expiry: Expiry,
    conn: ConnId,
    /// What it was put to, if it depends on the settings where that leads.
    to: Option<Queue>,
    sent: Moment,
    /// The step in which its last byte reached the server.
    arrived: Option<u64>,
    /// The same moment, unix time in milliseconds.
    arrived_ms: u64,
    answered: Option<Moment>,
    /// The step in which its server ended.
    ended: Option<u64>,
    ended_wall_ms: u64,
    /// In which of its server's lives it was sent.
    life: u64,
    options: Options,
    /// By which clients know it, once one was told.
    id: Option<u64>,
    /// Puts with the same key, one of which may be stored instead.
    alternatives: Vec<usize>,
    state: State,
    /// By which it is kept, once it is stored.
    policy: SyncPolicy,
    copies: BTreeMap<Queue, Copy>,
}

/// The item in one of the queues that received it.
#[derive(Debug, Default)]
struct Copy {
    deliveries: u32,
    since_cut: u32,
    holder: Option<Hold>,
    /// Taken or confirmed, and the client knows it.
    gone_since: Option<u64>,
    /// Somebody took it, or said that it is done: it need not come again.
    may_be_done: bool,
    may_be_flushed: bool,
    is_flushed: bool,
    /// How often a client saw it handed out tentatively, in time or too late.
    opens: u32,
    /// Seen in a queue to which it moved: how far on its way that is, and when.
    moved: Option<(usize, u64)>,
    /// It was in memory only when its server ended.
    is_dropped: bool,
    may_be_dropped: bool,
    /// A power cut may have lost the first of two moves and kept the second: then it is at two places.
    may_be_twice: bool,
    /// The same, at two places of one queue.
    may_be_twice_here: bool,
    course: Course,
}

impl Copy {
    fn place(&self) -> usize {
        self.moved.map_or(0, |(place, _)| place)
    }
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    conn: ConnId,
    /// Where it had been when it was handed out: it may have moved since the same client held it elsewhere.
    queue: Queue,
    received: Moment,
    /// On the monotonic clock; before this nobody else may get it.
    until_ms: u64,
    /// It does not end with the connection.
    is_lent: bool,
}

/// A time in which an item of these queues may have been held by a connection that never showed it.
#[derive(Debug)]
struct Window {
    conn: ConnId,
    queues: Vec<Queue>,
    from: u64,
    to: u64,
    /// A lease may go on until then, on the monotonic clock.
    to_ms: u64,
    /// An item may have been taken for good, at the latest then, on the monotonic clock.
    taken_ms: Option<u64>,
    /// How long it may go on after the connection.
    lease_ms: u64,
}

/// A request for items without an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Take {
    pub(crate) sent: Moment,
    pub(crate) queues: Vec<Queue>,
    /// So many of them it may have removed.
    pub(crate) removes: u64,
    /// How long it may hold some although its connection has ended.
    pub(crate) lease_ms: u64,
}

/// The first delivery of an item.
#[derive(Debug)]
struct First {
    put: usize,
    conn: ConnId,
    asked: Moment,
    received: Moment,
}

/// How an item was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Taken for good.
    Taken,
    /// Tentatively; until then (monotonic) nobody else may get it.
    Held { until_ms: u64 },
    /// As before, and it does not end with the connection.
    Lent { until_ms: u64 },
    /// Only looked at.
    Peeked,
}

impl How {
    /// Until when it is in the client's hands, if it is so tentatively.
    fn until_ms(self) -> Option<u64> {
        match self {
            Self::Held { until_ms } | Self::Lent { until_ms } => Some(until_ms),
            Self::Taken | Self::Peeked => None,
        }
    }
}

/// An item as a client received it.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) queue: &'a str,
    pub(crate) flags: u32,
    pub(crate) body: &'a [u8],
    pub(crate) how: How,
    pub(crate) conn: ConnId,
    pub(crate) asked: Moment,
}

impl Shown<'_> {
    /// Its lease ended while it was on its way: others may have had it since.
    fn is_stale(&self, at: Moment) -> bool {
        self.how.until_ms().is_some_and(|until_ms| until_ms <= at.mono_ms)
    }
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Puts that were acknowledged, and not lost by a policy that allows it.
    pub stored: u64,
    /// Puts that the server said it does not keep.
    pub refused: u64,
    /// Puts of which nobody was told anything.
    pub unknown: u64,
    /// Items delivered at least once, copies in sub-queues counted.
    pub delivered: u64,
    /// Further deliveries of them.
    pub redelivered: u64,
    /// Items seen in a queue to which they had expired or died.
    pub moved: u64,
    /// Items that were in memory only when their server ended.
    pub dropped: u64,
    /// Puts that were answered with the id of one with the same key.
    pub repeated: u64,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Oracle {
    scenario: Scenario,
    puts: Vec<Put>,
    /// First deliveries, by queue, as they were received.
    order: BTreeMap<Queue, Vec<First>>,
    windows: Vec<Window>,
    /// Plain gets whose answer never came: each may have taken one item with it.
    excuses: BTreeMap<Queue, u64>,
    had_power_cut: bool,
    /// When the server's life before this one ended, unix time in milliseconds.
    started_ms: u64,
    /// The server has said that what it had stored is damaged: from then on items may be missing, come again, or come out of order. They are still never altered.
    pub(crate) is_damage_told: bool,
    /// A block of a segment could not be read, which the server tells its operator at once; the items in it wait until the next start, and others go on.
    pub(crate) has_unread_block: bool,
    /// What it took note of, for a replay.
    pub(crate) notes: Option<Vec<String>>,
    /// Items seen in a queue to which they had moved.
    moves: u64,
    /// When the journal failed, in this life of the server.
    pub(crate) poisoned_in: Option<u64>,
    /// The settings.
    pub(crate) rules: History<Rules>,
    /// The status that holds.
    pub(crate) enforced: History<Status>,
    /// The status that is told.
    pub(crate) told: History<Status>,
    /// By which clients settle what they or others fetched.
    pub(crate) numbers: Numbers,
    /// Puts by the keys that they had.
    keys: BTreeMap<(Queue, u32), Vec<usize>>,
    ids: BTreeMap<u64, usize>,
    /// Commands that change what is certain.
    runs: Vec<Run>,
    /// Queues that hand out nothing, since when that is certain.
    paused: BTreeMap<Queue, Moment>,
    /// How often the server has ended.
    life: u64,
    repeated: u64,
}

impl Oracle {
    pub(crate) fn new(scenario: Scenario, rules: Rules) -> Self {
        Self {
            scenario,
            puts: Vec::new(),
            order: BTreeMap::new(),
            windows: Vec::new(),
            excuses: BTreeMap::new(),
            had_power_cut: false,
            started_ms: 0,
            is_damage_told: false,
            has_unread_block: false,
            notes: None,
            moves: 0,
            poisoned_in: None,
            rules: History::new(rules),
            enforced: History::new(Status::Up),
            told: History::new(Status::Up),
            numbers: Numbers::default(),
            keys: BTreeMap::new(),
            ids: BTreeMap::new(),
            runs: Vec::new(),
            paused: BTreeMap::new(),
            life: 0,
            repeated: 0,
        }
    }

    /// The number that the next put gets.
    pub(crate) fn next_put(&self) -> usize {
        self.puts.len()
    }

    /// A client sends a put whose body begins with its number. `to`: what it is put to, if it depends on the settings which of the targets get it.
    #[expect(clippy::too_many_arguments, reason = "each of them is needed")]
    pub(crate) fn put_sent(
        &mut self,
        at: Moment,
        conn: ConnId,
        to: Option<Queue>,
        targets: &[Queue],
        flags: u32,
        expiry: Expiry,
        body: Vec<u8>,
    ) {
        let copies = targets.iter().map(|&queue| (queue, Copy::default())).collect();
        self.puts.push(Put {
            body,
            flags,
            expiry,
            conn,
            to,
            sent: at,
            arrived: None,
            arrived_ms: 0,
            answered: None,
            ended: None,
            ended_wall_ms: 0,
            life: self.life,
            options: Options::default(),
            id: None,
            alternatives: Vec::new(),
            state: State::Sent,
            policy: self.scenario.policy,
            copies,
        });
    }

    /// The last byte of a put has reached the server.
    pub(crate) fn put_arrived(&mut self, at: Moment, put: usize) {
        (self.puts[put].arrived, self.puts[put].arrived_ms) = (Some(at.step), at.wall_ms);
    }

    /// The server promised to keep it.
    pub(crate) fn put_stored(&mut self, at: Moment, number: usize) -> Check {
        let put = &self.puts[number];
        let Some(arrived) = put.arrived else {
            return Err("stored before it had been sent whole".into());
        };
        // An answer from before may still be on its way.
        if self.poisoned_in.is_some_and(|failed| put.sent.step > failed) {
            return Err("acknowledged although the journal has failed".into());
        }
        if !self.enforced.between(arrived, at.step).any(|status| status.takes()) {
            return Err("stored although the server takes no puts".into());
        }
        let policy = self.policy_of(number, at);
        let put = &mut self.puts[number];
        (put.state, put.answered, put.policy) = (State::Stored, Some(at), policy);
        Ok(())
    }

    /// Whether it was acknowledged.
    pub(crate) fn is_stored(&self, put: usize) -> bool {
        self.puts[put].state == State::Stored
    }

    /// The server said that it does not keep it, or that not everybody does.
    pub(crate) fn put_refused(&mut self, at: Moment, number: usize, why: Refusal) -> Check {
        let is_partly = match why {
            Refusal::Limit => self.check_limit(number, at)?,
            Refusal::Status => {
                self.check_blocked(self.puts[number].sent, at, |status| status.takes())?;
                false
            }
            Refusal::Other => false,
        };
        let put = &mut self.puts[number];
        put.state = if is_partly { State::Partly } else { State::Refused };
        put.answered = Some(at);
        match !is_partly && put.copies.values().any(|copy| copy.deliveries > 0) {
            true => Err("refused after it had been delivered".into()),
            false => Ok(()),
        }
    }

    /// Of several puts this is the first that was refused: by a queue, or by something else after others were stored.
    pub(crate) fn put_refused_by_any(&mut self, at: Moment, number: usize) -> Check {
        match self.check_limit(number, at) {
            // A full disk refuses it everywhere, a full queue only there, and the answer does not say which: others may have it.
            Ok(true) if self.scenario.full_every > 0 => Ok(()),
            Ok(_) => self.put_refused(at, number, Refusal::Limit),
            Err(_) => self.put_refused(at, number, Refusal::Other),
        }
    }

    /// The flags of the put of this body; the protocol that showed it does not tell them.
    pub(crate) fn flags_of(&self, body: &[u8]) -> u32 {
        number_of(body).and_then(|number| self.puts.get(number)).map_or(0, |put| put.flags)
    }

    /// A client received an item. Answers its put's number.
    pub(crate) fn shown(&mut self, at: Moment, shown: &Shown<'_>) -> Result<usize, String> {
        let number = number_of(shown.body).ok_or("a body that nobody sent")?;
        let put = self.puts.get(number).ok_or("a body that nobody sent")?;
        let Some((root, queue, place)) = put.find(shown.queue) else {
            return Err(format!("item {number} in a queue that it was not sent to"));
        };
        let copy = &put.copies[root];
        if let Some(notes) = &mut self.notes {
            let (conn, how, asked) = (shown.conn, shown.how, shown.asked.step);
            notes.push(format!(
                "{conn} has item {number} of {queue}, {how:?}, asked in step {asked}"
            ));
        }
        self.check_status(shown, at)?;
        judge::judge(put, copy, place, shown, at, self.is_damage_told)
            .and_then(|()| self.check_settings(number, root, place, shown, at))
            .and_then(|()| self.check_course(number, root, place, shown, at))
            .and_then(|()| self.check_move(put, copy, root, queue, place, shown, at))
            .map_err(|what| format!("item {number} of {queue}: {what}"))?;
        let copy = self.puts[number].copies.get_mut(root).ok_or("no such copy")?;
        copy.opens += u32::from(shown.how.until_ms().is_some());
        if shown.how.until_ms().is_some() && place == 0 {
            copy.course.opened(shown.asked, at);
        }
        if place > copy.place() && !shown.is_stale(at) {
            copy.moved = Some((place, at.mono_ms));
            self.moves += 1;
        }
        if place < copy.place() && !shown.is_stale(at) && shown.how != How::Peeked {
            // Somebody kicked it.
            copy.moved = None;
        }
        if shown.how == How::Peeked || shown.is_stale(at) {
            return Ok(number);
        }
        let is_first = copy.deliveries == 0 && place == 0 && !copy.may_be_twice_here;
        if is_first && !self.is_damage_told {
            self.check_order(number, queue, shown, at)?;
            let first = First { put: number, conn: shown.conn, asked: shown.asked, received: at };
            self.order.entry(queue).or_default().push(first);
        }
        let copy = self.puts[number].copies.get_mut(root).ok_or("no such copy")?;
        copy.deliveries += 1;
        copy.since_cut += 1;
        if let Some(until_ms) = shown.how.until_ms() {
            let is_lent = matches!(shown.how, How::Lent { .. });
            let conn = shown.conn;
            copy.holder = Some(Hold { conn, queue, received: at, until_ms, is_lent });
        } else {
            (copy.holder, copy.may_be_done) = (None, true);
            copy.course.taken();
            copy.gone_since = Some(at.mono_ms);
        }
        self.numbers.end_others(at, number, root);
        Ok(number)
    }

    /// The client gives an item back: from now on others may get it.
    pub(crate) fn release_sent(&mut self, conn: ConnId, queue: Queue, put: usize) {
        self.end_hold(conn, queue, put);
    }

    /// The client says that the item is done. It may be one whose lease had ended on its way to the client, but not on the server, whose timer was late.
    pub(crate) fn ack_sent(&mut self, queue: Queue, put: usize) {
        if let Some(copy) = self.puts[put].copy_mut(queue) {
            copy.deliveries = copy.deliveries.max(1);
            copy.may_be_done = true;
        }
    }

    /// The server confirmed that the item is done.
    pub(crate) fn acked(&mut self, at: Moment, conn: ConnId, queue: Queue, put: usize) {
        self.end_hold(conn, queue, put);
        if let Some(copy) = self.puts[put].copy_mut(queue) {
            copy.gone_since = Some(at.mono_ms);
            copy.may_be_done = true;
        }
    }

    /// The server said that the connection does not hold the item.
    pub(crate) fn not_held(&mut self, at: Moment, conn: ConnId, queue: Queue, put: usize) -> Check {
        let copy = self.puts[put].copy_mut(queue).filter(|copy| !copy.may_be_twice_here);
        let hold = copy.and_then(|copy| copy.holder);
        match hold
            .filter(|hold| hold.conn == conn && hold.queue == queue && at.mono_ms < hold.until_ms)
        {
            Some(_) => Err(format!("item {put} of {queue} is not held although nothing ended it")),
            None => Ok(()),
        }
    }

    fn end_hold(&mut self, conn: ConnId, queue: Queue, put: usize) {
        if let Some(copy) = self.puts[put].copy_mut(queue)
            && copy.holder.is_some_and(|hold| hold.conn == conn && hold.queue == queue)
        {
            copy.holder = None;
        }
    }

    /// The queue may be emptied from now on.
    pub(crate) fn flush_sent(&mut self, queue: Queue) {
        for copy in self.puts.iter_mut().filter_map(|put| put.copies.get_mut(queue)) {
            copy.may_be_flushed = true;
        }
    }

    /// The queue was emptied: what had been stored when it was asked for is gone, what was sent meanwhile may be.
    pub(crate) fn flush_answered(&mut self, asked: Moment, queue: Queue) {
        for put in &mut self.puts {
            let was_there = put.answered.is_some_and(|at| at.step < asked.step);
            if let Some(copy) = put.copies.get_mut(queue) {
                copy.may_be_flushed = true;
                copy.is_flushed |= was_there && copy.deliveries == 0;
            }
        }
    }

    /// How many items have been shown to be taken, again ones included.
    pub(crate) fn deliveries(&self) -> u64 {
        self.puts
            .iter()
            .flat_map(|put| put.copies.values())
            .map(|copy| u64::from(copy.deliveries))
            .sum()
    }
}

impl Put {
    /// The item that is seen in this queue: the queue into which it was put, the queue where it is now, how far that is on its way.
    fn find(&self, seen: &str) -> Option<(Queue, Queue, usize)> {
        self.copies.keys().find_map(|&root| {
            let place = way(root).iter().position(|&queue| queue == seen)?;
            Some((root, way(root)[place], place))
        })
    }

    fn copy_mut(&mut self, seen: Queue) -> Option<&mut Copy> {
        let (root, _, _) = self.find(seen)?;
        self.copies.get_mut(root)
    }
}

/// A body that can be told from every other: its number, a colon, and bytes that follow from the number.
pub(crate) fn body(number: usize, filler_bytes: usize) -> Vec<u8> {
    let mut body = format!("{number}:").into_bytes();
    body.extend((0..filler_bytes).map(|at| (number.wrapping_mul(31) + at * 7) as u8));
    body
}

fn number_of(body: &[u8]) -> Option<usize> {
    let end = body.iter().position(|&byte| byte == b':')?;
    std::str::from_utf8(&body[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
