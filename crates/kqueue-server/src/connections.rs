//! The living connections, and whom to wake.
//!
//! Must not: know the broker, or what a connection is woken for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kqueue_broker::SessionId;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What wakes a connection.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    notify: Notify,
    /// There is more than replies to be sent.
    has_event: AtomicBool,
}

impl Bell {
    /// Waits until it rings.
    pub(crate) fn rung(&self) -> Notified<'_> {
        self.notify.notified()
    }

    /// After it rang: whether the session is to run. If not, replies of it may leave.
    pub(crate) fn take_event(&self) -> bool {
        self.has_event.swap(false, Ordering::Acquire)
    }

    fn ring(&self, has_event: bool) {
        if has_event {
            self.has_event.store(true, Ordering::Release);
        }
        self.notify.notify_one();
    }
}

/// Connections to wake once the lock is released, and whether their sessions are to run.
#[derive(Default)]
pub(crate) struct Ready(Vec<(Arc<Bell>, bool)>);

impl Ready {
    pub(crate) fn push(&mut self, connection: &Arc<Bell>, has_event: bool) {
        self.0.push((Arc::clone(connection), has_event));
    }

    pub(crate) fn wake(&mut self) {
        for (bell, has_event) in self.0.drain(..) {
            bell.ring(has_event);
        }
    }
}

/// The living connections. A session id is (generation, slot), so that a late event for a closed connection finds nobody.
#[derive(Default)]
pub(crate) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    bell: Option<Arc<Bell>>,
}

impl Connections {
    pub(crate) fn insert(&mut self, bell: Arc<Bell>) -> SessionId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 connections")
        });
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.bell = Some(bell);
        SessionId(u64::from(entry.generation) << 32 | u64::from(slot))
    }

    pub(crate) fn get(&self, session: SessionId) -> Option<&Arc<Bell>> {
        let (generation, slot) = Self::split(session);
        self.slots.get(slot).filter(|entry| entry.generation == generation)?.bell.as_ref()
    }

    pub(crate) fn remove(&mut self, session: SessionId) {
        let (generation, slot) = Self::split(session);
        if let Some(entry) = self.slots.get_mut(slot).filter(|e| e.generation == generation)
            && entry.bell.take().is_some()
        {
            self.free.push(slot as u32);
        }
    }

    fn split(session: SessionId) -> (u32, usize) {
        ((session.0 >> 32) as u32, (session.0 & 0xffff_ffff) as usize)
    }
}
