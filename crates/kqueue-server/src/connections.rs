//! The living connections, and whom to wake.
//!
//! Must not: know the broker, or what a connection is woken for.

use std::sync::Arc;

use kqueue_broker::SessionId;
use tokio::sync::Notify;

/// Connections to wake once the lock is released.
#[derive(Default)]
pub(crate) struct Ready(Vec<Arc<Notify>>);

impl Ready {
    pub(crate) fn push(&mut self, connection: &Arc<Notify>) {
        self.0.push(Arc::clone(connection));
    }

    pub(crate) fn wake(&mut self) {
        for notify in self.0.drain(..) {
            notify.notify_one();
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
    notify: Option<Arc<Notify>>,
}

impl Connections {
    pub(crate) fn insert(&mut self, notify: Arc<Notify>) -> SessionId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 connections")
        });
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.notify = Some(notify);
        SessionId(u64::from(entry.generation) << 32 | u64::from(slot))
    }

    pub(crate) fn get(&self, session: SessionId) -> Option<&Arc<Notify>> {
        let (generation, slot) = Self::split(session);
        self.slots.get(slot).filter(|entry| entry.generation == generation)?.notify.as_ref()
    }

    pub(crate) fn remove(&mut self, session: SessionId) {
        let (generation, slot) = Self::split(session);
        if let Some(entry) = self.slots.get_mut(slot).filter(|e| e.generation == generation)
            && entry.notify.take().is_some()
        {
            self.free.push(slot as u32);
        }
    }

    fn split(session: SessionId) -> (u32, usize) {
        ((session.0 >> 32) as u32, (session.0 & 0xffff_ffff) as usize)
    }
}
