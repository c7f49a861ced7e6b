//! The module entry and the four moments of a module's life.
//!
//! The engine calls these functions from C: a panic must not leave them.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ext_php_rs::builders::ModuleBuilder;
use ext_php_rs::error::php_error;
use ext_php_rs::flags::ErrorType;
use ext_php_rs::php_module;
use ext_php_rs::zend::ModuleEntry;

use super::{error, ini, signal};
use crate::{exceptions, message, messages, phpinfo, queue, settings, state};

const SUCCESS: c_int = 0;
const FAILURE: c_int = -1;

/// The module entry that PHP asks for.
#[php_module]
fn module(module: ModuleBuilder) -> ModuleBuilder {
    module
        .name("kqueue")
        .version(env!("CARGO_PKG_VERSION"))
        .startup_function(module_startup)
        .shutdown_function(module_shutdown)
        .request_shutdown_function(request_shutdown)
        .info_function(info)
}

unsafe extern "C" fn module_startup(_type: c_int, module_number: c_int) -> c_int {
    let outcome = catch_unwind(|| {
        settings::register(module_number);
        exceptions::register()?;
        message::register()?;
        messages::register()?;
        queue::register()
    });
    let problem = match outcome {
        Ok(Ok(())) => return SUCCESS,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "internal error".to_owned(),
    };
    php_error(&ErrorType::CoreWarning, &format!("kqueue: {problem}"));
    FAILURE
}

unsafe extern "C" fn module_shutdown(_type: c_int, module_number: c_int) -> c_int {
    if catch_unwind(state::close_all).is_err() {
        return FAILURE;
    }
    ini::unregister(module_number);
    SUCCESS
}

/// Runs after the request's shutdown functions and destructors, but before the objects that are
/// still alive are freed; also after `exit`, a fatal error and `memory_limit`.
unsafe extern "C" fn request_shutdown(_type: c_int, _module_number: c_int) -> c_int {
    let outcome = catch_unwind(|| {
        signal::end_loops();
        for failure in state::end_request() {
            error::log_warning(&format!("at the end of the request, of pushAsync(): {failure}"));
        }
    });
    if outcome.is_err() { FAILURE } else { SUCCESS }
}

unsafe extern "C" fn info(module: *mut ModuleEntry) {
    // Nothing to report a panic to: the section just ends.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        phpinfo::print();
        super::info::ini_settings(module);
    }));
}
