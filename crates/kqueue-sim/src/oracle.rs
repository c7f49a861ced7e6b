//! What the clients saw, and whether a queue that keeps its promises could have shown it to them.
//!
//! The oracle knows no queue: it judges the history. It checks that nothing is invented or altered, nothing acknowledged is lost, nothing is held by two, nothing
//! confirmed comes back, a fanout is whole, and the order is kept among items that cannot have been returned. An item that expires or dies into another queue stays one item:
//! it is at one place, it goes only when it may, it does not return, and it is not lost on the way. What was in memory only is gone with its server, and stays away.
//!
//! Must not: look into the broker.

use std::collections::BTreeMap;

use kqueue_broker::SyncPolicy;

use crate::disk::Cut;
use crate::queues::{
    ATTEMPTS_MAX, Entry, Queue, drops_expired, entry, is_volatile, may_lack, ring_items, way,
};
use crate::scenario::Scenario;

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
    Refused,
}

#[derive(Debug)]
struct Put {
    body: Vec<u8>,
    flags: u32,
    expiry: Expiry,
    conn: ConnId,
    sent: Moment,
    answered: Option<Moment>,
    state: State,
    /// Its last byte has reached the server.
    is_whole: bool,
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
}

/// How an item was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Taken for good.
    Taken,
    /// Tentatively; until then (monotonic) nobody else may get it.
    Held { until_ms: u64 },
    /// Only looked at.
    Peeked,
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
        matches!(self.how, How::Held { until_ms } if until_ms <= at.mono_ms)
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
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Oracle {
    scenario: Scenario,
    puts: Vec<Put>,
    /// First deliveries, by queue: the put, when it was asked for, when it was received.
    order: BTreeMap<Queue, Vec<(usize, Moment, Moment)>>,
    windows: Vec<Window>,
    /// Plain gets whose answer never came: each may have taken one item with it.
    excuses: BTreeMap<Queue, u64>,
    had_power_cut: bool,
    /// The server has said that what it had stored is damaged: from then on items may be missing, come again, or come out of order. They are still never altered.
    pub(crate) is_damage_told: bool,
    /// What it took note of, for a replay.
    pub(crate) notes: Option<Vec<String>>,
    /// Items seen in a queue to which they had moved.
    moves: u64,
    /// When the journal failed, in this life of the server.
    pub(crate) poisoned_in: Option<u64>,
}

impl Oracle {
    pub(crate) fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            puts: Vec::new(),
            order: BTreeMap::new(),
            windows: Vec::new(),
            excuses: BTreeMap::new(),
            had_power_cut: false,
            is_damage_told: false,
            notes: None,
            moves: 0,
            poisoned_in: None,
        }
    }

    /// The number that the next put gets.
    pub(crate) fn next_put(&self) -> usize {
        self.puts.len()
    }

    /// A client sends a put whose body begins with its number.
    pub(crate) fn put_sent(
        &mut self,
        at: Moment,
        conn: ConnId,
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
            sent: at,
            answered: None,
            state: State::Sent,
            is_whole: false,
            copies,
        });
    }

    /// The last byte of a put has reached the server.
    pub(crate) fn put_arrived(&mut self, put: usize) {
        self.puts[put].is_whole = true;
    }

    /// The server promised to keep it.
    pub(crate) fn put_stored(&mut self, at: Moment, put: usize) -> Check {
        let put = &mut self.puts[put];
        if !put.is_whole {
            return Err("stored before it had been sent whole".into());
        }
        // An answer from before may still be on its way.
        if self.poisoned_in.is_some_and(|failed| put.sent.step > failed) {
            return Err("acknowledged although the journal has failed".into());
        }
        (put.state, put.answered) = (State::Stored, Some(at));
        Ok(())
    }

    /// Whether it was acknowledged.
    pub(crate) fn is_stored(&self, put: usize) -> bool {
        self.puts[put].state == State::Stored
    }

    /// The server said that it does not keep it.
    pub(crate) fn put_refused(&mut self, at: Moment, put: usize) -> Check {
        let put = &mut self.puts[put];
        (put.state, put.answered) = (State::Refused, Some(at));
        match put.copies.values().any(|copy| copy.deliveries > 0) {
            true => Err("refused after it had been delivered".into()),
            false => Ok(()),
        }
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
        judge(put, copy, place, shown, at, self.is_damage_told)
            .and_then(|()| self.check_move(put, copy, root, queue, place, shown, at))
            .map_err(|what| format!("item {number} of {queue}: {what}"))?;
        let copy = self.puts[number].copies.get_mut(root).ok_or("no such copy")?;
        copy.opens += u32::from(matches!(shown.how, How::Held { .. }));
        if place > copy.place() && !shown.is_stale(at) {
            copy.moved = Some((place, at.mono_ms));
            self.moves += 1;
        }
        if shown.how == How::Peeked || shown.is_stale(at) {
            return Ok(number);
        }
        let is_first = copy.deliveries == 0 && place == 0;
        if is_first && !self.is_damage_told {
            self.check_order(number, queue, shown)?;
            self.order.entry(queue).or_default().push((number, shown.asked, at));
        }
        let copy = self.puts[number].copies.get_mut(root).ok_or("no such copy")?;
        copy.deliveries += 1;
        copy.since_cut += 1;
        match shown.how {
            How::Held { until_ms } => {
                copy.holder = Some(Hold { conn: shown.conn, queue, received: at, until_ms });
            }
            How::Taken | How::Peeked => {
                copy.holder = None;
                copy.gone_since = Some(at.mono_ms);
            }
        }
        Ok(number)
    }

    /// An item goes to another queue when it may, and does not return.
    #[expect(clippy::too_many_arguments, reason = "private, and each of them is needed")]
    fn check_move(
        &self,
        put: &Put,
        copy: &Copy,
        root: Queue,
        queue: Queue,
        place: usize,
        shown: &Shown<'_>,
        at: Moment,
    ) -> Check {
        if self.is_damage_told {
            return Ok(());
        }
        if place < copy.place() && !shown.is_stale(at) {
            let (seen, since) = (way(root)[copy.place()], copy.moved.map_or(0, |(_, ms)| ms));
            // A peek may have been asked before, and be answered late.
            return match shown.how == How::Peeked && shown.asked.mono_ms <= since {
                true => Ok(()),
                false => Err(format!("here although it had moved to {seen}")),
            };
        }
        match entry(queue).filter(|_| place > copy.place()) {
            Some(Entry::Expired) if put.expiry.earliest_ms == 0 => {
                Err("expired, and has no time to live".into())
            }
            Some(Entry::Expired) if put.expiry.earliest_ms >= at.wall_ms => {
                Err("expired before its time".into())
            }
            Some(Entry::Dead) if copy.opens < ATTEMPTS_MAX => {
                let may_have_been_open =
                    way(root).iter().any(|from| self.may_have_been_held(from, put.sent, at));
                match may_have_been_open {
                    true => Ok(()),
                    false => Err(format!("dead after {} deliveries", copy.opens)),
                }
            }
            _ => Ok(()),
        }
    }

    /// No item that came later may have been handed out while this one was certainly waiting.
    fn check_order(&self, number: usize, queue: Queue, shown: &Shown<'_>) -> Check {
        if ring_items(queue).is_some_and(|items| self.later_puts(number, queue) >= items) {
            // It made room for others then, and a power cut brought it back.
            return Ok(());
        }
        for &(later, asked, received) in self.order.get(queue).into_iter().flatten() {
            if received.step < shown.asked.step
                && self.precedes(number, later)
                && !self.may_have_been_held(queue, asked, received)
            {
                return Err(format!("item {later} of {queue} was handed out before item {number}"));
            }
        }
        Ok(())
    }

    fn precedes(&self, a: usize, b: usize) -> bool {
        let (first, second) = (&self.puts[a], &self.puts[b]);
        (first.conn == second.conn && a < b)
            || first.answered.is_some_and(|at| at.step < second.sent.step)
    }

    fn may_have_been_held(&self, queue: Queue, from: Moment, to: Moment) -> bool {
        let overlaps = |window: &Window| {
            let is_past = window.to < from.step && window.to_ms < from.mono_ms;
            window.from <= to.step && !is_past && window.queues.contains(&queue)
        };
        self.windows.iter().any(overlaps)
    }

    /// A reserve with a lease was sent: it may end before the client sees what it got.
    pub(crate) fn lease_asked(&mut self, at: Moment, conn: ConnId, queues: &[Queue]) {
        self.open_window(at.step, conn, queues, false);
    }

    /// What was asked with a lease was answered: whatever of it the client does not see as its own any more is so for the server, too, a lease later.
    pub(crate) fn lease_answered(&mut self, at: Moment, conn: ConnId, lease_ms: u64) {
        self.close_windows(conn, at.step, at.mono_ms + lease_ms, at.mono_ms);
    }

    /// The server has noticed that the connection is gone.
    pub(crate) fn conn_noticed(&mut self, at: Moment, conn: ConnId) {
        self.close_windows(conn, at.step, 0, at.mono_ms);
    }

    fn close_windows(&mut self, conn: ConnId, step: u64, to_ms: u64, now_ms: u64) {
        for window in self.windows.iter_mut().filter(|window| window.conn == conn) {
            if window.to == u64::MAX {
                (window.to, window.to_ms) = (step, to_ms);
                window.taken_ms = window.taken_ms.map(|_| now_ms);
            }
        }
    }

    fn open_window(&mut self, from: u64, conn: ConnId, queues: &[Queue], removes: bool) {
        self.windows.push(Window {
            conn,
            queues: queues.to_vec(),
            from,
            to: u64::MAX,
            to_ms: u64::MAX,
            taken_ms: removes.then_some(u64::MAX),
        });
    }

    /// The client gives an item back: from now on others may get it.
    pub(crate) fn release_sent(&mut self, conn: ConnId, queue: Queue, put: usize) {
        self.end_hold(conn, queue, put);
    }

    /// The client says that the item is done. It may be one whose lease had ended on its way to the client, but not on the server, whose timer was late.
    pub(crate) fn ack_sent(&mut self, queue: Queue, put: usize) {
        if let Some(copy) = self.puts[put].copy_mut(queue) {
            copy.deliveries = copy.deliveries.max(1);
        }
    }

    /// The server confirmed that the item is done.
    pub(crate) fn acked(&mut self, at: Moment, conn: ConnId, queue: Queue, put: usize) {
        self.end_hold(conn, queue, put);
        if let Some(copy) = self.puts[put].copy_mut(queue) {
            copy.gone_since = Some(at.mono_ms);
        }
    }

    /// The server said that the connection does not hold the item.
    pub(crate) fn not_held(&mut self, at: Moment, conn: ConnId, queue: Queue, put: usize) -> Check {
        let hold = self.puts[put].copy_mut(queue).and_then(|copy| copy.holder);
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

    /// The connection is gone as its client sees it. `asked` are takes without an answer: (sent, queues, whether they remove).
    pub(crate) fn conn_gone(&mut self, conn: ConnId, asked: &[(Moment, Vec<Queue>, bool)]) {
        for put in &mut self.puts {
            for copy in put.copies.values_mut() {
                if copy.holder.is_some_and(|hold| hold.conn == conn) {
                    copy.holder = None;
                }
            }
        }
        for (sent, queues, removes) in asked {
            self.open_window(sent.step, conn, queues, *removes);
            for queue in queues.iter().filter(|_| *removes) {
                *self.excuses.entry(queue).or_default() += 1;
            }
        }
    }

    /// The client will send nothing more: a wait of its own is given up, and what it was about to be handed goes back.
    pub(crate) fn half_closed(&mut self, conn: ConnId, asked: &[(Moment, Vec<Queue>, bool)]) {
        for (sent, queues, removes) in asked {
            self.open_window(sent.step, conn, queues, *removes);
        }
    }

    /// The server's life ended. `is_faulty`: its disk failed before, so that nothing was synced in time.
    pub(crate) fn cut(&mut self, at: Moment, cut: Cut, is_faulty: bool) {
        self.had_power_cut |= cut == Cut::Power;
        self.poisoned_in = None;
        let survives_ms = match (cut, self.scenario.policy) {
            (Cut::Kill, _) | (Cut::Power, SyncPolicy::Always) => Some(0),
            (Cut::Power, SyncPolicy::Every { ms }) if !is_faulty => Some(ms + REMOVAL_SLACK_MS),
            (Cut::Power, _) => None,
        };
        let removal_ms = match (cut, self.scenario.policy) {
            _ if is_faulty => None,
            (Cut::Kill, _) => Some(REMOVAL_SLACK_MS),
            (Cut::Power, SyncPolicy::Never) => None,
            (Cut::Power, _) => Some(1000 + REMOVAL_SLACK_MS),
        };
        let is_past = |since: u64, limit: Option<u64>| {
            limit.is_some_and(|ms| since.saturating_add(ms) <= at.mono_ms)
        };
        for put in &mut self.puts {
            if put.state == State::Stored
                && !put.answered.is_some_and(|stored| is_past(stored.mono_ms, survives_ms))
            {
                put.state = State::Sent;
            }
            for (&root, copy) in &mut put.copies {
                copy.holder = None;
                copy.since_cut = 0;
                // Nothing need have synced the move of something that nobody took, so after a power cut it may be back.
                let moved_ms = if cut == Cut::Kill { removal_ms } else { None };
                copy.may_be_twice |= cut == Cut::Power && way(root).len() > 2;
                copy.moved = copy.moved.filter(|&(_, since)| is_past(since, moved_ms));
                if is_volatile(root) {
                    copy.is_dropped = true;
                    copy.may_be_dropped |= copy.moved.is_none();
                }
                copy.gone_since = copy.gone_since.filter(|&since| is_past(since, removal_ms));
                copy.is_flushed &= survives_ms == Some(0);
            }
        }
        // What was dropped to make room may be back.
        self.order.retain(|queue, _| ring_items(queue).is_none());
        for window in &mut self.windows {
            // What was taken by one who never showed it may be back, at its old place: until now it was away.
            let is_back = window.taken_ms.is_some_and(|since| !is_past(since, removal_ms));
            let was_away = is_back || window.to_ms >= at.mono_ms;
            window.to = if was_away { at.step } else { window.to.min(at.step) };
            window.to_ms = window.to_ms.min(at.mono_ms);
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

    /// Everything that is left was delivered: what is missing is lost.
    pub(crate) fn finish(&self, now: Moment) -> Result<Tally, String> {
        let mut missing: BTreeMap<Queue, Vec<usize>> = BTreeMap::new();
        let mut tally = Tally { moved: self.moves, ..Tally::default() };
        for (number, put) in self.puts.iter().enumerate() {
            match put.state {
                State::Stored => tally.stored += 1,
                State::Refused => tally.refused += 1,
                State::Sent => tally.unknown += 1,
            }
            for (queue, copy) in &put.copies {
                tally.delivered += u64::from(copy.deliveries.min(1));
                tally.redelivered += u64::from(copy.deliveries.saturating_sub(1));
                tally.dropped += u64::from(copy.is_dropped && copy.deliveries == 0);
                if self.is_missing(number, queue, copy, now) {
                    missing.entry(queue).or_default().push(number);
                }
            }
        }
        for (queue, numbers) in missing.into_iter().filter(|_| !self.is_damage_told) {
            let excuses = way(queue).iter().filter_map(|place| self.excuses.get(place));
            let excused: u64 = excuses.sum();
            if numbers.len() as u64 > excused {
                return Err(format!(
                    "LOST: items {numbers:?} of {queue}; plain gets whose answer nobody saw explain {excused} of them"
                ));
            }
        }
        Ok(tally)
    }

    fn is_missing(&self, number: usize, queue: Queue, copy: &Copy, now: Moment) -> bool {
        let put = &self.puts[number];
        let is_expired = drops_expired(queue)
            && put.expiry.earliest_ms != 0
            && put.expiry.earliest_ms < now.wall_ms;
        let may_be_gone = copy.may_be_flushed || copy.may_be_dropped || is_expired;
        if copy.deliveries > 0 || may_be_gone || may_lack(queue, &self.scenario) {
            return false;
        }
        if ring_items(queue).is_some_and(|items| self.later_puts(number, queue) >= items) {
            return false;
        }
        let is_whole_fanout_promised =
            self.scenario.policy == SyncPolicy::Always || !self.had_power_cut;
        match put.state {
            State::Stored => true,
            State::Refused => false,
            // Nobody was promised anything, but all queues have it or none.
            State::Sent => {
                is_whole_fanout_promised && put.copies.values().any(|copy| copy.since_cut > 0)
            }
        }
    }

    /// How many other items may have come into a queue after this one.
    fn later_puts(&self, number: usize, queue: Queue) -> usize {
        let may_be_later = |&other: &usize| {
            let put = &self.puts[other];
            let may_be_there = put.is_whole && put.state != State::Refused;
            other != number
                && may_be_there
                && put.copies.contains_key(queue)
                && !self.precedes(other, number)
        };
        (0..self.puts.len()).filter(may_be_later).count()
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

/// Whether this item may be shown to this client now.
fn judge(
    put: &Put,
    copy: &Copy,
    place: usize,
    shown: &Shown<'_>,
    at: Moment,
    is_damage_told: bool,
) -> Check {
    if put.body != shown.body || put.flags != shown.flags {
        return Err("body or flags are not those that were put".into());
    }
    if !put.is_whole {
        return Err("delivered although it was never sent whole".into());
    }
    if put.state == State::Refused {
        return Err("delivered although it had been refused".into());
    }
    let expires_ms = if place == 0 { put.expiry.latest_ms } else { 0 };
    if expires_ms != 0 && expires_ms < shown.asked.wall_ms {
        return Err("delivered after it had expired".into());
    }
    if shown.is_stale(at) || is_damage_told {
        return Ok(());
    }
    if copy.is_dropped && place == 0 {
        return Err("came back although it was in memory only".into());
    }
    if copy.is_flushed {
        return Err("delivered after it had been flushed".into());
    }
    let is_gone = copy
        .gone_since
        .is_some_and(|since| shown.how != How::Peeked || since < shown.asked.mono_ms);
    if is_gone && !copy.may_be_twice {
        return Err("came back after it had been confirmed".into());
    }
    let Some(hold) = copy.holder else { return Ok(()) };
    let is_past = at.mono_ms >= hold.until_ms;
    let may_be_earlier = shown.how == How::Peeked && shown.asked.step <= hold.received.step;
    match is_past || may_be_earlier {
        true => Ok(()),
        false => Err(format!(
            "given to connection {} while connection {} holds it",
            shown.conn, hold.conn
        )),
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
