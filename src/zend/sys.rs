//! The C functions of the engine that ext-php-rs does not bind.
//!
//! Signatures are those of PHP 8.1 to 8.5 (`Zend/zend_API.h`, `zend_ini.h`, `zend_iterators.h`,
//! `main/php_ini.h`, `main/php.h`, `ext/spl/spl_exceptions.h`). A function whose signature or name differs
//! between versions belongs into [`super::compat`].

use std::ffi::{c_char, c_int};

use ext_php_rs::ffi::{zend_property_info, zend_type};
use ext_php_rs::types::{ZendIterator, ZendStr, Zval};
use ext_php_rs::zend::{ClassEntry, ExecuteData, ModuleEntry};

unsafe extern "C" {
    pub(super) static spl_ce_RuntimeException: *mut ClassEntry;
    pub(super) static zend_interrupt_function: Option<unsafe extern "C" fn(*mut ExecuteData)>;

    pub(super) fn zend_parse_arg_str_slow(
        arg: *mut Zval,
        dest: *mut *mut ZendStr,
        number: u32,
    ) -> bool;
    pub(super) fn zend_parse_arg_long_slow(arg: *mut Zval, dest: *mut i64, number: u32) -> bool;
    pub(super) fn zend_parse_arg_double_slow(arg: *mut Zval, dest: *mut f64, number: u32) -> bool;
    pub(super) fn zend_parse_arg_bool_slow(arg: *mut Zval, dest: *mut bool, number: u32) -> bool;
    pub(super) fn zend_wrong_parameter_type_error(number: u32, expected: u32, arg: *mut Zval);
    pub(super) fn zend_argument_type_error(number: u32, format: *const c_char, ...);
    pub(super) fn zend_argument_value_error(number: u32, format: *const c_char, ...);

    pub(super) fn zend_declare_typed_property(
        ce: *mut ClassEntry,
        name: *mut ZendStr,
        default: *mut Zval,
        access: c_int,
        doc: *mut ZendStr,
        of: zend_type,
    ) -> *mut zend_property_info;
    pub(super) fn zend_update_property(
        scope: *mut ClassEntry,
        object: *mut ext_php_rs::ffi::zend_object,
        name: *const c_char,
        length: usize,
        value: *mut Zval,
    );

    pub(super) fn zend_ini_long(name: *const c_char, length: usize, original: c_int) -> i64;
    pub(super) fn zend_ini_string(
        name: *const c_char,
        length: usize,
        original: c_int,
    ) -> *const c_char;
    pub(super) fn zend_unregister_ini_entries(module_number: c_int);
    pub(super) fn display_ini_entries(module: *mut ModuleEntry);

    pub(super) fn php_log_err_with_severity(message: *const c_char, severity: c_int);

    pub(super) fn zend_iterator_dtor(iterator: *mut ZendIterator);
}
