//! How the host tells a waiting call that a signal wants attention.

/// Asked while a call *waits for an item*, when the system call under it was interrupted and at
/// least four times a second.
pub trait Interrupt {
    /// True: give up waiting. The call returns as if nothing had come; no item is lost.
    /// Must be quick, must not run user code and must not call back into this crate.
    fn interrupted(&self) -> bool;
}

/// For hosts without signal handlers: never gives up.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverInterrupted;

impl Interrupt for NeverInterrupted {
    fn interrupted(&self) -> bool {
        false
    }
}

impl<F: Fn() -> bool> Interrupt for F {
    fn interrupted(&self) -> bool {
        self()
    }
}
