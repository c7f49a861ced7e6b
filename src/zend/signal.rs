//! Signals that arrive while a method waits for a server.
//!
//! A C-level handler only notes the signal and sets the VM's interrupt flag; the PHP handler runs at
//! the VM's next stop. An exception thrown meanwhile makes the VM skip that stop, and the signal is
//! lost. So: waiting ends when the flag is set ([`is_pending`]), and before throwing or reporting
//! "nothing" the handlers run ([`dispatch`]).
//!
//! And SIGTERM, for workers: while a [`Loop`] runs on the command line, it does not end the process
//! in the middle of an item; the loop sees [`Loop::is_told_to_end`] after it.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use ext_php_rs::zend::ExecutorGlobals;

use super::{compat, error::Thrown, sys};

/// SIGTERM has come since a loop began.
static IS_TOLD: AtomicBool = AtomicBool::new(false);
/// What was to happen on SIGTERM before the loop began.
static PREVIOUS: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static PREVIOUS_FLAGS: AtomicI32 = AtomicI32::new(0);
/// The process that runs the innermost loop; 0: none does.
static OWNER: AtomicI32 = AtomicI32::new(0);

thread_local! {
    /// The loops in progress: a handler may run one itself.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// A worker's loop, in which SIGTERM waits for the item in hand.
///
/// If the program has a handler of its own, that is called as ever. If it has none, the loop ends
/// after the item, and whatever follows it in the program is done; the next loop lets the signal end
/// the process. Only on the command line: elsewhere the signal is not the script's business.
pub(crate) struct Loop {
    /// The owner of the loop around it.
    outer: i32,
}

impl Loop {
    /// Begins a loop. Does not return if SIGTERM has ended one before and there is no handler.
    pub(crate) fn begin() -> Self {
        let depth = DEPTH.get();
        DEPTH.set(depth + 1);
        let outer = OWNER.swap(own_pid(), Ordering::AcqRel);
        if depth == 0 && compat::is_command_line() {
            install();
        }
        Self { outer }
    }

    /// True from the moment SIGTERM came. A signal that is ignored tells nothing.
    pub(crate) fn is_told_to_end() -> bool {
        IS_TOLD.load(Ordering::Acquire)
    }

    /// Whether the loop is not to wait any longer for the next item. Other waits do not ask this: a
    /// handler finishes its item, and what follows a loop is done.
    pub(crate) fn is_interrupted() -> bool {
        is_pending() || Self::is_told_to_end()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
        if DEPTH.get() == 0 {
            restore();
        }
        OWNER.store(self.outer, Ordering::Release);
    }
}

/// Ends the loops that a fatal error has jumped out of.
pub(crate) fn end_loops() {
    if DEPTH.replace(0) > 0 {
        restore();
        OWNER.store(0, Ordering::Release);
    }
}

fn install() {
    let now = compat::signal_action(libc::SIGTERM);
    if IS_TOLD.swap(false, Ordering::AcqRel) && now.sa_sigaction == libc::SIG_DFL {
        // SAFETY: the process signals itself, with the action that has been the program's all along.
        unsafe { libc::raise(libc::SIGTERM) };
    }
    if now.sa_sigaction == libc::SIG_IGN || now.sa_sigaction == on_term as *const () as usize {
        // Ignored; or, with threads, another one's loop has seen to it.
        return;
    }
    PREVIOUS.store(now.sa_sigaction, Ordering::Release);
    PREVIOUS_FLAGS.store(now.sa_flags, Ordering::Release);
    let mut ours = now;
    ours.sa_sigaction = on_term as *const () as usize;
    // What the item in hand is doing goes on: a system call of it does not fail for a signal that used
    // to end the process. (Our own waits are by poll, which ends all the same.) Who has a handler has
    // chosen.
    let restart = match now.sa_sigaction {
        libc::SIG_DFL => libc::SA_RESTART,
        _ => now.sa_flags & libc::SA_RESTART,
    };
    ours.sa_flags = libc::SA_SIGINFO | restart;
    compat::set_signal_action(libc::SIGTERM, &ours);
}

fn restore() {
    let mut now = compat::signal_action(libc::SIGTERM);
    if now.sa_sigaction != on_term as *const () as usize {
        // The program has set its own meanwhile, or nothing was installed.
        return;
    }
    now.sa_sigaction = PREVIOUS.load(Ordering::Acquire);
    now.sa_flags = PREVIOUS_FLAGS.load(Ordering::Acquire);
    compat::set_signal_action(libc::SIGTERM, &now);
    if now.sa_sigaction != libc::SIG_DFL {
        // The program knows.
        IS_TOLD.store(false, Ordering::Release);
    }
}

fn own_pid() -> i32 {
    // SAFETY: always succeeds, in a signal handler too.
    unsafe { libc::getpid() }
}

/// Only what may be done in a signal handler: notes the signal, and passes it on.
extern "C" fn on_term(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let previous = PREVIOUS.load(Ordering::Acquire);
    if previous == libc::SIG_DFL && OWNER.load(Ordering::Acquire) != own_pid() {
        // Forked by a handler, this process has no item in hand and no loop to end: it ends, when the
        // signal is let in again.
        // SAFETY: both calls may be used in a signal handler; zeros are the default action.
        unsafe {
            let default: libc::sigaction = std::mem::zeroed();
            libc::sigaction(number, &raw const default, std::ptr::null_mut());
            libc::raise(number);
        }
        return;
    }
    IS_TOLD.store(true, Ordering::Release);
    if previous == libc::SIG_DFL || previous == libc::SIG_IGN {
        return;
    }
    // SAFETY: a handler that was installed for this signal, called with the arguments its flags ask
    // for.
    unsafe {
        if PREVIOUS_FLAGS.load(Ordering::Acquire) & libc::SA_SIGINFO == 0 {
            std::mem::transmute::<usize, extern "C" fn(c_int)>(previous)(number);
        } else {
            type Action = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
            std::mem::transmute::<usize, Action>(previous)(number, info, context);
        }
    }
}

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
