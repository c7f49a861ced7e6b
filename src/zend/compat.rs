//! What differs between PHP 8.1 and 8.5, and between NTS and ZTS.
//!
//! Nothing else in the crate asks for a PHP version.

use std::ffi::{CStr, c_char, c_int};
use std::mem;
use std::ptr::{self, addr_of_mut};

use ext_php_rs::types::Zval;
use ext_php_rs::zend::ExecutorGlobals;

unsafe extern "C" {
    #[cfg(not(php83))]
    fn zend_zval_type_name(value: *const Zval) -> *const c_char;
    #[cfg(php83)]
    fn zend_zval_value_name(value: *const Zval) -> *const c_char;
}

/// How the engine names a value's type in its own messages: from 8.3 on, `true` instead of `bool`.
pub(crate) fn type_name(value: &Zval) -> &'static CStr {
    // SAFETY: both functions read the zval and return a static or interned string.
    unsafe {
        #[cfg(not(php83))]
        let name = zend_zval_type_name(value);
        #[cfg(php83)]
        let name = zend_zval_value_name(value);
        CStr::from_ptr(name)
    }
}

/// The VM's interrupt flags: `(vm_interrupt, timed_out)`.
///
/// They are `bool` in 8.1 and `zend_atomic_bool` (one byte as well) from 8.2 on. A signal handler
/// writes them at any time, so they are only ever read and written volatile, through these pointers.
pub(crate) fn interrupt_flags() -> (*mut u8, *mut u8) {
    // The guard must not outlive this function: PHP code run under it would deadlock.
    let mut globals = ExecutorGlobals::get_mut();
    (addr_of_mut!(globals.vm_interrupt).cast::<u8>(), addr_of_mut!(globals.timed_out).cast::<u8>())
}

/// The beginning of `sapi_module_struct`.
#[repr(C)]
struct SapiHead {
    name: *const c_char,
}

unsafe extern "C" {
    static sapi_module: SapiHead;
}

/// True under `php` on the command line.
pub(crate) fn is_command_line() -> bool {
    // SAFETY: the engine sets it before modules start; the name is a literal.
    unsafe {
        let name = sapi_module.name;
        !name.is_null() && CStr::from_ptr(name) == c"cli"
    }
}

type ZendSigaction = unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction);

/// The engine's own `sigaction`, where it is built with signal handling of its own (the default
/// without threads): it keeps the real actions in a table, behind a handler of its own.
fn zend_sigaction() -> Option<ZendSigaction> {
    // SAFETY: a lookup by name; the signature is that of Zend/zend_signal.h in all versions.
    unsafe {
        let symbol = libc::dlsym(libc::RTLD_DEFAULT, c"zend_sigaction".as_ptr());
        mem::transmute::<*mut libc::c_void, Option<ZendSigaction>>(symbol)
    }
}

/// What happens on a signal, as the program has set it.
pub(crate) fn signal_action(number: c_int) -> libc::sigaction {
    // SAFETY: all zeros is a valid action, which the calls fill in.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        match zend_sigaction() {
            Some(get) => get(number, ptr::null(), &raw mut action),
            None => _ = libc::sigaction(number, ptr::null(), &raw mut action),
        }
        action
    }
}

/// Sets it.
pub(crate) fn set_signal_action(number: c_int, action: &libc::sigaction) {
    // SAFETY: a whole action; its handler, if it is a function, is one.
    unsafe {
        match zend_sigaction() {
            Some(set) => set(number, action, ptr::null_mut()),
            None => _ = libc::sigaction(number, action, ptr::null_mut()),
        }
    }
}
