//! Signals that arrive while a method waits for a server.
//!
//! A C-level handler only notes the signal and sets the VM's interrupt flag; the PHP handler runs at
//! the VM's next stop. An exception thrown meanwhile makes the VM skip that stop, and the signal is
//! lost. So: waiting ends when the flag is set ([`is_pending`]), and before throwing or reporting
//! "nothing" the handlers run ([`dispatch`]).

use ext_php_rs::zend::ExecutorGlobals;

use super::{compat, error::Thrown, sys};

/// Whether the VM has been asked to stop: a signal with a PHP handler, or `max_execution_time`.
///
/// Without `pcntl_async_signals()` the flag is not set, and waiting goes on.
pub(crate) fn is_pending() -> bool {
    let (interrupt, _) = compat::interrupt_flags();
    // SAFETY: a byte of the executor globals; volatile because signal handlers write it.
    unsafe { interrupt.read_volatile() != 0 }
}

/// Lets PHP's signal handlers run now. Runs PHP code: hold nothing.
///
/// A handler may throw or exit; the result says so.
pub(crate) fn dispatch() -> Result<(), Thrown> {
    let (interrupt, timed_out) = compat::interrupt_flags();
    // SAFETY: as in `is_pending`.
    let (is_interrupted, is_timed_out) =
        unsafe { (interrupt.read_volatile() != 0, timed_out.read_volatile() != 0) };
    // A time limit is left to the VM: it must raise its fatal error outside of our frames.
    if is_interrupted && !is_timed_out && !ExecutorGlobals::has_exception() {
        let frame = ExecutorGlobals::get().current_execute_data;
        // SAFETY: what the VM itself does at a stop: clear the flag, call the hook with the frame.
        unsafe {
            interrupt.write_volatile(0);
            if let Some(hook) = sys::zend_interrupt_function {
                hook(frame);
            }
        }
    }
    Thrown::check()
}
