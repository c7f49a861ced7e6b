//! The module's section in `phpinfo()`.

use std::ffi::CString;

use ext_php_rs::ffi::{
    php_info_print_table_end, php_info_print_table_header, php_info_print_table_row,
    php_info_print_table_start,
};
use ext_php_rs::zend::ModuleEntry;

use super::sys;

/// Prints one table; the first row is the header.
pub(crate) fn table(rows: &[(String, String)]) {
    // SAFETY: the printing functions of phpinfo, called from the info function; each row has as many
    // strings as its first argument says.
    unsafe {
        php_info_print_table_start();
        for (index, (left, right)) in rows.iter().enumerate() {
            let (left, right) = (c_text(left), c_text(right));
            if index == 0 {
                php_info_print_table_header(2, left.as_ptr(), right.as_ptr());
            } else {
                php_info_print_table_row(2, left.as_ptr(), right.as_ptr());
            }
        }
        php_info_print_table_end();
    }
}

/// Prints the module's ini settings.
pub(crate) fn ini_settings(module: *mut ModuleEntry) {
    // SAFETY: the entry that the engine has given to the info function.
    unsafe { sys::display_ini_entries(module) };
}

fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\\0")).unwrap_or_default()
}
