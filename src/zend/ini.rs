//! The engine's side of ini settings: registration with a check, reading, display.
//!
//! A value that its check refuses never becomes the setting's value: `ini_set()` returns false, and a
//! bad value in a configuration file is reported and replaced by the default. So readers may rely on
//! every value being well-formed.

use std::ffi::{CStr, c_char, c_int, c_void};

use ext_php_rs::error::php_error;
use ext_php_rs::ffi::{_zend_ini_entry, zend_string};
use ext_php_rs::flags::{ErrorType, IniEntryPermission};
use ext_php_rs::zend::IniEntryDef;

use super::sys;

/// Says what is wrong with a value, if anything ("must be ...").
pub(crate) type Check = fn(&[u8]) -> Result<(), String>;

const SUCCESS: c_int = 0;
const FAILURE: c_int = -1;
/// `ZEND_INI_STAGE_STARTUP`: values from configuration files and the command line.
const STAGE_STARTUP: c_int = 1;

/// The definition of one setting.
pub(crate) const fn define(
    name: &'static CStr,
    default: &'static CStr,
    permission: IniEntryPermission,
    check: &'static Check,
) -> IniEntryDef {
    let mut definition = IniEntryDef::new(name, default, permission);
    definition.on_modify = Some(on_modify);
    definition.mh_arg1 = std::ptr::from_ref(check).cast_mut().cast::<c_void>();
    definition
}

unsafe extern "C" fn on_modify(
    entry: *mut _zend_ini_entry,
    new_value: *mut zend_string,
    check: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    stage: c_int,
) -> c_int {
    std::panic::catch_unwind(|| {
        // SAFETY: `mh_arg1` is the `&'static Check` given in `define`; the engine passes the entry and
        // the new value alive (the value is null when a setting is emptied).
        let (check, value, name) = unsafe {
            let value = new_value.as_ref().map_or(&b""[..], |value| value.as_bytes());
            let name = (*entry).name.as_ref().map_or(&b""[..], |name| name.as_bytes());
            (*check.cast::<Check>(), value, name)
        };
        let Err(problem) = check(value) else { return SUCCESS };
        if stage == STAGE_STARTUP {
            let name = String::from_utf8_lossy(name);
            php_error(&ErrorType::CoreWarning, &format!("{name} {problem}; the default is used"));
        }
        FAILURE
    })
    .unwrap_or(FAILURE)
}

/// The present value of an integer setting.
pub(crate) fn int(name: &CStr) -> i64 {
    // SAFETY: the engine looks the name up in its table; an unknown one gives 0.
    unsafe { sys::zend_ini_long(name.as_ptr(), name.count_bytes(), 0) }
}

/// The present value of a text setting.
pub(crate) fn text(name: &CStr) -> String {
    // SAFETY: as above; the text is copied before anything can change it.
    unsafe {
        let value: *const c_char = sys::zend_ini_string(name.as_ptr(), name.count_bytes(), 0);
        if value.is_null() {
            String::new()
        } else {
            CStr::from_ptr(value).to_string_lossy().into_owned()
        }
    }
}

/// Forgets the settings of a module that is shut down.
pub(crate) fn unregister(module_number: c_int) {
    // SAFETY: called from the module's shutdown function with its own number.
    unsafe { sys::zend_unregister_ini_entries(module_number) };
}
