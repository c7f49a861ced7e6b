//! Raising PHP exceptions.
//!
//! Invariant: whoever holds a [`Thrown`] knows that an exception is pending in the engine; the only
//! thing left to do is to return to it.

use std::ffi::{CStr, CString};

use ext_php_rs::exception::PhpException;
use ext_php_rs::types::Zval;
use ext_php_rs::zend::{ClassEntry, ExecutorGlobals, ce};

use super::{compat, sys};

/// An exception is pending in the engine.
#[derive(Debug)]
#[must_use = "return to the engine at once: an exception is pending"]
pub(crate) struct Thrown(());

impl Thrown {
    /// Takes note of an exception that the engine or PHP code has raised, if there is one.
    pub(crate) fn check() -> Result<(), Self> {
        if ExecutorGlobals::has_exception() { Err(Self(())) } else { Ok(()) }
    }

    /// For engine calls that report failure only after having raised an exception themselves.
    pub(super) fn by_engine() -> Self {
        debug_assert!(ExecutorGlobals::has_exception());
        Self(())
    }
}

/// Throws `class`; does nothing if an exception is pending already (the first one is the cause).
pub(crate) fn throw(class: &'static ClassEntry, code: i32, message: &str) -> Thrown {
    PhpException::new(message.replace('\0', "\\0"), code, class).throw();
    Thrown(())
}

/// Throws an `\Error`: the object was used in a way that no retry can heal.
pub(crate) fn misuse(message: &str) -> Thrown {
    throw(ce::error(), 0, message)
}

/// `f(): Argument #1 ($x) must be of type <expected>, <actual> given`.
pub(crate) fn type_error(number: u32, expected: &CStr, given: &Zval) -> Thrown {
    if !ExecutorGlobals::has_exception() {
        // SAFETY: called inside a method call, as the function requires; the format takes two strings.
        unsafe {
            sys::zend_argument_type_error(
                number,
                c"must be of type %s, %s given".as_ptr(),
                expected.as_ptr(),
                compat::type_name(given).as_ptr(),
            );
        }
    }
    Thrown(())
}

/// `f(): Argument #1 ($x) <text>` as a `TypeError`.
pub(crate) fn type_error_because(number: u32, text: &str) -> Thrown {
    if !ExecutorGlobals::has_exception() {
        let text = c_text(text);
        // SAFETY: as above; the format takes one string.
        unsafe { sys::zend_argument_type_error(number, c"%s".as_ptr(), text.as_ptr()) };
    }
    Thrown(())
}

/// `f(): Argument #1 ($x) <text>` as a `ValueError`.
pub(crate) fn value_error(number: u32, text: &str) -> Thrown {
    if !ExecutorGlobals::has_exception() {
        let text = c_text(text);
        // SAFETY: as above; the format takes one string.
        unsafe { sys::zend_argument_value_error(number, c"%s".as_ptr(), text.as_ptr()) };
    }
    Thrown(())
}

/// Writes a line to PHP's error log. Runs no PHP code, so it may be used when the request is over.
pub(crate) fn log_warning(text: &str) {
    let text = c_text(&format!("PHP Warning:  kqueue: {text}"));
    // SAFETY: the function copies the text.
    unsafe { sys::php_log_err_with_severity(text.as_ptr(), libc::LOG_WARNING) };
}

fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\\0")).unwrap_or_default()
}
