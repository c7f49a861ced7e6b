//! What differs between PHP 8.1 and 8.5, and between NTS and ZTS.
//!
//! Nothing else in the crate asks for a PHP version.

use std::ffi::{CStr, c_char};
use std::ptr::addr_of_mut;

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
