//! What the clients of a load know, and what follows from it: the judge of a crash.
//!
//! The rules are those of docs/operating.md and docs/protocol.md for a *killed* server (what was written survives):
//! - A put that was answered `STORED` is there, in all queues that it goes to. One that got no answer is, after the crash, in all of them or in none; it
//!   may have been handed to a client that waited before it was written, and that proves nothing. One that was refused is in none, unless the refusal said
//!   that the outcome is unknown.
//! - Nothing is delivered that was not put, nor with another body or id, nor to two that hold it at the same time.
//! - An item whose removal was answered does not come again while this server lives. After a kill it may, for a removal is answered before it is
//!   written; but not if a put that was *sent* after that answer was acknowledged: there is one log, and what was recorded before the put is
//!   written before it. After a clean exit it never comes again.
//! - A plain get whose answer did not arrive may have taken one item with it, of its queue.
//!
//! Must not: know sockets.

use std::collections::{HashMap, HashSet};

use crate::dice::number_of;

/// The queues of a load. The last two belong to the one before, their master.
pub const QUEUES: [&str; 7] =
    ["plain", "reliable", "leased", "kept", "posts", "posts+a", "posts+b"];
/// The queue from which plain gets take.
pub const PLAIN: usize = 0;
/// The queue from which nobody takes.
pub const KEPT: usize = 3;
/// The master with sub-queues.
pub const MASTER: usize = 4;
/// More complaints than this are not kept.
const COMPLAINTS_MAX: usize = 20;

/// What is known about a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    /// No answer, or one that says that the outcome is unknown.
    Unknown,
    Stored,
    Refused,
}

#[derive(Debug)]
struct Item {
    queue: usize,
    put: Put,
    id: Option<u64>,
    round: usize,
    /// The latest delivery that may prove that the put was written: its round and time.
    witness: Option<(usize, u64)>,
}

/// What is known about a copy of an item that was delivered.
#[derive(Clone, Copy, Debug)]
enum Copy {
    /// A client holds it.
    Held { round: usize },
    /// A client gives it back or has given it back.
    Returned,
    /// Somebody asked for its removal and has no answer (yet).
    Leaving { round: usize },
    /// Its removal was answered, at that time.
    Removed { round: usize, at: u64 },
}

/// See the module's description. Time is counted in calls.
#[derive(Debug, Default)]
pub struct Ledger {
    items: Vec<Item>,
    copies: HashMap<(usize, u64), Copy>,
    now: u64,
    /// By round: when the latest of its acknowledged puts was sent.
    last_put_at: Vec<u64>,
    /// The round that is running.
    this_round_put_at: u64,
    /// Plain gets that were not answered when their server was killed.
    unanswered: u64,
    is_stopping: bool,
    this_round_unanswered: u64,
    acknowledged: u64,
    complaints: Vec<String>,
}

impl Ledger {
    /// The number of a new item for that queue, which is about to be sent; and the time.
    pub fn will_put(&mut self, queue: usize) -> (u64, u64) {
        let round = self.round();
        self.items.push(Item { queue, put: Put::Unknown, id: None, round, witness: None });
        (self.items.len() as u64 - 1, self.tick())
    }

    /// It was answered `STORED`; `sent_at` is the time that [`Ledger::will_put`] told.
    pub fn stored(&mut self, number: u64, id: Option<u64>, sent_at: u64) {
        self.acknowledged += 1;
        self.this_round_put_at = self.this_round_put_at.max(sent_at);
        self.items[number as usize].put = Put::Stored;
        self.note_id(number, id);
    }

    /// It was answered by an error.
    pub fn refused(&mut self, number: u64, reply: &str) {
        if !reply.contains("unknown") {
            self.items[number as usize].put = Put::Refused;
        }
    }

    /// A client was handed that; returns the item's number if it is one.
    pub fn delivered(&mut self, queue: usize, found: &[u8], id: Option<u64>) -> Option<u64> {
        let number = match number_of(found) {
            Ok(number) => number,
            Err(what) => {
                self.complain(format!("corrupted, in {}: {what}", QUEUES[queue]));
                return None;
            }
        };
        let Some(item) = self.items.get(number as usize) else {
            self.complain(format!("invented: item {number} in {}", QUEUES[queue]));
            return None;
        };
        let (put_to, put) = (item.queue, item.put);
        if !receivers(put_to).contains(&queue) {
            self.complain(format!("item {number} for {} in {}", QUEUES[put_to], QUEUES[queue]));
        }
        if put == Put::Refused {
            self.complain(format!("item {number} was refused and is in {}", QUEUES[queue]));
        }
        self.note_id(number, id);
        let (round, at) = (self.round(), self.tick());
        let witness = &mut self.items[number as usize].witness;
        if witness.is_none_or(|(then, _)| then < round) {
            *witness = Some((round, at));
        }
        if let Some(before) = self.copies.insert((queue, number), Copy::Held { round })
            && let Some(why) = self.why_not_again(before)
        {
            self.complain(format!("again, in {}: item {number}, which {why}", QUEUES[queue]));
        }
        Some(number)
    }

    fn why_not_again(&self, before: Copy) -> Option<String> {
        let round = self.round();
        match before {
            // What a connection holds that the server has ended goes to one that it has not.
            Copy::Held { .. } | Copy::Leaving { .. } if self.is_stopping => None,
            Copy::Held { round: then } if then == round => Some("somebody holds".into()),
            Copy::Leaving { round: then } if then == round => Some("is being removed".into()),
            Copy::Removed { round: then, .. } if then == round => Some("was removed".into()),
            Copy::Removed { round: then, at } if at < self.last_put_at[then] => Some(format!(
                "was removed {} rounds ago, before a put was sent that was acknowledged",
                round - then
            )),
            Copy::Held { .. } | Copy::Returned | Copy::Leaving { .. } | Copy::Removed { .. } => {
                None
            }
        }
    }

    /// The server is told to stop: it ends its connections one after the other.
    pub fn stopping(&mut self) {
        self.is_stopping = true;
    }

    /// The client that holds it is about to give it back.
    pub fn returns(&mut self, queue: usize, number: u64) {
        self.copies.insert((queue, number), Copy::Returned);
    }

    /// The client that holds it is about to remove it.
    pub fn removes(&mut self, queue: usize, number: u64) {
        let round = self.round();
        self.copies.insert((queue, number), Copy::Leaving { round });
    }

    /// Its removal was answered.
    pub fn removed(&mut self, queue: usize, number: u64) {
        self.acknowledged += 1;
        let (round, at) = (self.round(), self.tick());
        self.copies.insert((queue, number), Copy::Removed { round, at });
    }

    /// A plain get was not answered.
    pub fn unanswered(&mut self) {
        self.this_round_unanswered += 1;
    }

    /// Something that must not be.
    pub fn complain(&mut self, text: String) {
        let round = self.round();
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(format!("round {round}: {text}"));
        }
    }

    /// The server has ended, and all clients with it. If it ended cleanly, everything that was answered must be on the disk.
    pub fn end_round(&mut self, is_clean: bool) {
        let last_put_at = if is_clean { u64::MAX } else { self.this_round_put_at };
        self.last_put_at.push(last_put_at);
        self.this_round_put_at = 0;
        self.is_stopping = false;
        let unanswered = std::mem::take(&mut self.this_round_unanswered);
        // A server that ends cleanly has answered what it has done.
        self.unanswered += if is_clean { 0 } else { unanswered };
    }

    /// Puts and removals that were answered.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// How many items there are in the queue from which nobody takes: at least and at most.
    pub fn kept(&self) -> (u64, u64) {
        let kept = || self.items.iter().filter(|item| item.queue == KEPT);
        let stored = kept().filter(|item| item.put == Put::Stored);
        (stored.count() as u64, kept().count() as u64)
    }

    /// Whether it was written, as far as anybody can tell.
    fn was_written(&self, item: &Item) -> bool {
        let is_proof = |(round, at)| round > item.round || at < self.last_put_at[round];
        item.put == Put::Stored || item.witness.is_some_and(is_proof)
    }

    /// All queues have been emptied, and the round has ended: what should have been in them?
    pub fn audit(&mut self) {
        let mut seen = HashSet::new();
        let twice = self.items.iter().filter_map(|item| item.id).find(|&id| !seen.insert(id));
        if let Some(id) = twice {
            self.complain(format!("two items have the id {id}"));
        }
        let mut missing_plain = 0;
        for number in 0..self.items.len() as u64 {
            let item = &self.items[number as usize];
            let to = receivers(item.queue);
            let seen = to.clone().filter(|&queue| self.copies.contains_key(&(queue, number)));
            let seen = seen.map(|queue| QUEUES[queue]).collect::<Vec<_>>();
            let (is_there, name) = (self.was_written(item), QUEUES[item.queue]);
            if item.queue == PLAIN {
                missing_plain += u64::from(is_there && seen.is_empty());
            } else if is_there && seen.len() < to.len() {
                self.complain(format!("lost: item {number} of {name}, seen only in {seen:?}"));
            }
        }
        if missing_plain > self.unanswered {
            let text = format!("lost: {missing_plain} items of {}", QUEUES[PLAIN]);
            self.complain(format!("{text}, {} gets were not answered", self.unanswered));
        }
    }

    /// What must not be and was.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// How many items there were, in words.
    pub fn summary(&self) -> String {
        let stored = self.items.iter().filter(|item| item.put == Put::Stored).count();
        let removed = |copy: &&Copy| matches!(copy, Copy::Removed { .. });
        let removed = self.copies.values().filter(removed).count();
        format!("{stored} of {} puts acknowledged, {removed} copies removed", self.items.len())
    }

    fn round(&self) -> usize {
        self.last_put_at.len()
    }

    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn note_id(&mut self, number: u64, id: Option<u64>) {
        let Some(id) = id else { return };
        let known = self.items[number as usize].id.get_or_insert(id);
        if *known != id {
            let text = format!("item {number} had the id {known} and has {id}");
            self.complain(text);
        }
    }
}

/// The queues that a put to `queue` reaches.
fn receivers(queue: usize) -> std::ops::Range<usize> {
    match queue {
        MASTER => MASTER..QUEUES.len(),
        other => other..other + 1,
    }
}
