//! What all connections together may keep of requests that are not complete and of replies that were not taken.
//!
//! Each connection is bounded by itself; very many of them are not, without this.
//! Invariant: what a connection counted is forgotten when it ends, however it does.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that a server's connections may keep in all: room for a few items of the largest size that can be configured.
pub(crate) const BYTES_MAX: usize = 256 * 1024 * 1024;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

/// What one connection keeps.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    /// A connection that keeps nothing yet.
    pub(crate) fn count(&self) -> Counted<'_> {
        Counted { budget: self, bytes: 0 }
    }

    /// Whether more is kept than may be: whoever keeps much is to give it up.
    pub(crate) fn is_over(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.max
    }
}

impl Counted<'_> {
    /// The connection keeps so many bytes now.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else if bytes < self.bytes {
            self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_counted_and_forgotten_with_its_connection() {
        let budget = Budget::new(1000);
        let mut first = budget.count();
        first.set(1000);
        assert!(!budget.is_over());
        let mut second = budget.count();
        second.set(1);
        assert!(budget.is_over());
        first.set(7);
        assert!(!budget.is_over());
        first.set(usize::MAX / 4);
        drop(first);
        drop(second);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
