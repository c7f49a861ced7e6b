//! What the process keeps between calls: the connection pools, the reserved items, and who has pushed
//! without awaiting the answers.
//!
//! One instance per thread, which is per process on a PHP without threads; made at first use, so
//! after an FPM worker has been forked. The client notices a later fork itself: a child neither uses
//! nor speaks on connections of its parent.
//!
//! Reserved items are owned here and not by the PHP objects, because those may never be destroyed
//! (`exit`, a fatal error, `memory_limit`): [`end_request`] returns whatever is left, in every case.
//!
//! Invariant: no borrow is held while the client does I/O. An item is taken out of the registry first,
//! so that anything that asks meanwhile finds it gone.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Instant;

use kqueue_client::{Cluster, Error, Held, Pools, PushError};

/// So many objects may be gone whose pushes nobody has asked about.
const ORPHANS: usize = 8;

/// What a message object knows of its reservation: never reused, meaningless once it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// Why an item could not be settled.
pub(crate) enum NotSettled {
    /// It is not ours any more: settled, returned or lost before.
    NotHeld,
    /// The server said no, or did not answer.
    Failed(Error),
}

struct Reservation {
    held: Held,
    /// The `KQueue` object it came from.
    owner: u64,
}

#[derive(Default)]
struct State {
    pools: OnceCell<Pools>,
    /// In the order of arrival.
    reservations: RefCell<BTreeMap<Ticket, Reservation>>,
    /// Clusters with pushes that nobody may have asked about yet.
    unsynced: RefCell<Vec<Rc<Cluster>>>,
    /// The last number given to a ticket or an owner.
    last_number: Cell<u64>,
}

thread_local! {
    static STATE: State = State::default();
}

/// The pools of this process.
pub(crate) fn pools() -> Pools {
    STATE.with(|state| {
        // Different in every process: it spreads the choice of servers.
        let seed = || RandomState::new().hash_one(std::process::id());
        state.pools.get_or_init(|| Pools::new(seed())).clone()
    })
}

/// A number that no ticket and no other owner has.
pub(crate) fn next_number() -> u64 {
    STATE.with(|state| {
        state.last_number.set(state.last_number.get() + 1);
        state.last_number.get()
    })
}

/// Takes charge of a reserved item.
pub(crate) fn hold(held: Held, owner: u64) -> Ticket {
    let ticket = Ticket(next_number());
    STATE.with(|state| {
        state.reservations.borrow_mut().insert(ticket, Reservation { held, owner });
    });
    ticket
}

/// Whether the item is still reserved by this process, as far as it knows.
pub(crate) fn is_held(ticket: Ticket) -> bool {
    STATE.with(|state| state.reservations.borrow().contains_key(&ticket))
}

/// How many items are reserved.
pub(crate) fn held_count() -> usize {
    STATE.with(|state| state.reservations.borrow().len())
}

/// Does something to an item in hand. It stays in hand if it is not settled by that.
///
/// No borrow is held meanwhile: `how` talks to a server.
pub(crate) fn with(
    ticket: Ticket,
    how: impl FnOnce(&mut Held) -> Result<(), Error>,
) -> Result<(), NotSettled> {
    let mut reservation = take(ticket).ok_or(NotSettled::NotHeld)?;
    let result = how(&mut reservation.held).map_err(NotSettled::Failed);
    if !reservation.held.is_settled() {
        STATE.with(|state| state.reservations.borrow_mut().insert(ticket, reservation));
    }
    result
}

/// Puts the item back if it is still held, without complaint if that fails (then the connection is
/// closed, and the server puts it back).
pub(crate) fn give_back(ticket: Ticket) {
    drop(take(ticket));
}

fn take(ticket: Ticket) -> Option<Reservation> {
    // An object may be freed when the thread, and with it the state, is already gone.
    let taken = STATE.try_with(|state| state.reservations.borrow_mut().remove(&ticket));
    taken.ok().flatten()
}

/// Puts back everything reserved through `owner`.
pub(crate) fn give_back_all(owner: u64) {
    let tickets: Vec<Ticket> = STATE.with(|state| {
        let reservations = state.reservations.borrow();
        reservations.iter().filter(|(_, item)| item.owner == owner).map(|(&key, _)| key).collect()
    });
    abandon(tickets.into_iter().filter_map(take));
}

/// Puts back what nobody will ask for any more. A server that does not answer is waited for once, not
/// once per item.
fn abandon(left: impl IntoIterator<Item = Reservation>) {
    left.into_iter().for_each(|reservation| reservation.held.abandon());
}

/// Takes note that `cluster` has pushes whose answers are to be awaited before the request ends.
///
/// A program that makes an object for each push, and lets it go, would keep a connection for each: if
/// too many objects are gone, what they pushed is awaited now. Returns what became of that.
pub(crate) fn owe_sync(cluster: Rc<Cluster>) -> Vec<PushError<usize>> {
    let is_orphan = |cluster: &Rc<Cluster>| Rc::strong_count(cluster) == 1;
    let orphans = STATE.with(|state| {
        let mut unsynced = state.unsynced.borrow_mut();
        unsynced.retain(|cluster| !is_orphan(cluster) || cluster.has_unsynced());
        unsynced.push(cluster);
        if unsynced.iter().filter(|cluster| is_orphan(cluster)).count() <= ORPHANS {
            return Vec::new();
        }
        let (orphans, owned) = unsynced.drain(..).partition(is_orphan);
        *unsynced = owned;
        orphans
    });
    sync_all(&orphans)
}

fn sync_all(clusters: &[Rc<Cluster>]) -> Vec<PushError<usize>> {
    let begun = Instant::now();
    let syncs = clusters.iter().map(|cluster| {
        // Once for the server they were sent to, and once for another one.
        cluster.sync(Some(begun + 2 * cluster.options().timeout))
    });
    syncs.filter_map(Result::err).collect()
}

/// Puts back everything reserved in this request, and awaits the answers of its pushes; returns what
/// became of those that failed. The connections stay.
pub(crate) fn end_request() -> Vec<PushError<usize>> {
    let (left, unsynced) = STATE.with(|state| (state.reservations.take(), state.unsynced.take()));
    abandon(left.into_values());
    sync_all(&unsynced)
}

/// Puts back everything and closes every idle connection of this process.
pub(crate) fn close_all() {
    let _ = STATE.try_with(|state| {
        let left = state.reservations.take();
        abandon(left.into_values());
        if let Some(pools) = state.pools.get() {
            pools.close_all();
        }
    });
}
