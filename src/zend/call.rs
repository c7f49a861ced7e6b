//! One call of a method: its arguments, its object, its result.
//!
//! Arguments are read the way the engine's own functions read theirs, with its parsers and on the
//! argument's own slot: weak mode coerces (`5` and a `Stringable` are strings, `null` is deprecated),
//! `strict_types` does not, and the texts of a `TypeError` are the engine's.
//!
//! Reading an argument may run PHP code (`__toString`, an error handler). So read all of them first,
//! and take the object ([`Call::this`]) afterwards.

use std::ffi::{CStr, c_char};
use std::ptr;

use ext_php_rs::class::RegisteredClass;
use ext_php_rs::ffi::{
    _call_user_function_impl, _efree, _zend_expected_type_Z_EXPECTED_DOUBLE,
    _zend_expected_type_Z_EXPECTED_LONG, _zend_expected_type_Z_EXPECTED_STRING,
    zend_is_callable_ex, zend_wrong_parameters_count_error,
};
use ext_php_rs::types::{ZendClassObject, ZendHashTable, ZendObject, ZendStr, Zval};
use ext_php_rs::zend::{ExecuteData, run_handler};

use super::error::{self, Thrown};
use super::{compat, sys};

/// What a method is: it reads the call and gives its result, or has thrown.
pub(crate) type Method = fn(&Call<'_>) -> Result<Zval, Thrown>;

/// The handler that the engine calls for a [`Method`].
macro_rules! handler {
    ($method:path) => {{
        ext_php_rs::zend_fastcall! {
            extern fn handler(
                ex: &mut ext_php_rs::zend::ExecuteData,
                result: &mut ext_php_rs::types::Zval,
            ) {
                $crate::zend::call::run(ex, result, $method);
            }
        }
        handler
    }};
}
pub(crate) use handler;

/// Runs a method: a panic becomes an `\Error`, a bailout is passed on.
pub(crate) fn run(ex: &mut ExecuteData, result: &mut Zval, method: Method) {
    run_handler(std::panic::AssertUnwindSafe(|| {
        if let Ok(value) = method(&Call { ex }) {
            *result = value;
        }
    }));
}

/// A method call in progress.
pub(crate) struct Call<'a> {
    ex: &'a mut ExecuteData,
}

impl<'a> Call<'a> {
    /// For the constructor, whose handler ext-php-rs provides.
    pub(crate) fn new(ex: &'a mut ExecuteData) -> Self {
        Self { ex }
    }

    /// Throws the engine's `ArgumentCountError` unless between `min` and `max` arguments were given.
    pub(crate) fn expect_arguments(&self, min: u32, max: u32) -> Result<(), Thrown> {
        if (min..=max).contains(&self.count()) {
            return Ok(());
        }
        // SAFETY: called inside a method call, whose frame it reads for the text.
        unsafe { zend_wrong_parameters_count_error(min, max) };
        Err(Thrown::by_engine())
    }

    fn count(&self) -> u32 {
        // SAFETY: in the frame of a call, this union holds the number of arguments.
        unsafe { self.ex.This.u2.num_args }
    }

    /// The slot of argument `number` (from 1), if it was given.
    fn slot(&self, number: u32) -> Option<*mut Zval> {
        if number == 0 || number > self.count() {
            return None;
        }
        // SAFETY: the frame holds `count()` arguments, and `number` is one of them.
        unsafe { self.ex.zend_call_arg(number as usize - 1) }.map(ptr::from_mut)
    }

    /// Argument `number` as it was given.
    pub(crate) fn value(&self, number: u32) -> Option<&Zval> {
        // SAFETY: the slot lives as long as the frame, that is as long as `self`. The engine rewrites
        // it only in the parsers below, each argument once, before its value is handed out.
        self.slot(number).map(|slot| unsafe { (*slot).dereference() })
    }

    /// Argument `number` as a value to iterate over.
    #[expect(clippy::mut_from_ref, reason = "one slot of the frame, asked for once per call")]
    pub(super) fn value_mut(&self, number: u32) -> Option<&mut Zval> {
        // SAFETY: as in `value`.
        self.slot(number).map(|slot| unsafe { (*slot).dereference_mut() })
    }

    /// A required string argument, without a copy. May run PHP code.
    pub(crate) fn string(&self, number: u32) -> Result<&ZendStr, Thrown> {
        let slot = self.slot(number).ok_or_else(|| missing(number))?;
        // SAFETY: as in `value`; the parser leaves the string in the slot, which owns it.
        unsafe { string_in(slot, number) }.map(|text| unsafe { &*text })
    }

    /// An optional `int` argument. May run PHP code (an error handler, on a deprecation).
    pub(crate) fn int(&self, number: u32, default: i64) -> Result<i64, Thrown> {
        self.slot(number).map_or(Ok(default), |slot| {
            // SAFETY: a live slot of this frame.
            unsafe { int_in(slot, number) }
        })
    }

    /// An optional `float` argument. May run PHP code (an error handler, on a deprecation).
    pub(crate) fn float(&self, number: u32, default: f64) -> Result<f64, Thrown> {
        self.slot(number).map_or(Ok(default), |slot| {
            // SAFETY: a live slot of this frame.
            unsafe { float_in(slot, number) }
        })
    }

    /// An optional `array` argument; `None` when it was left out.
    pub(crate) fn array(&self, number: u32) -> Result<Option<&ZendHashTable>, Thrown> {
        match self.value(number) {
            None => Ok(None),
            Some(value) => match value.array() {
                Some(table) => Ok(Some(table)),
                None => Err(error::type_error(number, c"array", value)),
            },
        }
    }

    /// A `string|array` argument (with `|null`: `None` when left out or null). May run PHP code.
    pub(crate) fn strings(&self, number: u32, or_null: bool) -> Result<Strings<'_>, Thrown> {
        let expected: &CStr = if or_null { c"array|string|null" } else { c"array|string" };
        match self.value(number) {
            None => Ok(Strings::None),
            Some(value) if or_null && value.is_null() => Ok(Strings::None),
            Some(value) if value.is_array() => {
                Ok(value.array().map_or(Strings::None, Strings::Many))
            }
            // An object is a string only if it says so; everything else follows the string rules.
            Some(value) if value.is_object() && !is_stringable(value) => {
                Err(error::type_error(number, expected, value))
            }
            Some(value) => {
                let given = value.shallow_clone();
                let slot = self.slot(number).ok_or_else(|| missing(number))?;
                let mut text = ptr::null_mut();
                // SAFETY: a live slot of this frame; on success it owns the string.
                let is_parsed = unsafe {
                    match (*slot).zend_str() {
                        Some(string) => {
                            text = ptr::from_ref(string).cast_mut();
                            true
                        }
                        None => sys::zend_parse_arg_str_slow(slot, &raw mut text, number),
                    }
                };
                if is_parsed {
                    // SAFETY: as above.
                    Ok(Strings::One(unsafe { &*text }))
                } else {
                    Err(error::type_error(number, expected, &given))
                }
            }
        }
    }

    /// A required `callable` argument. Runs no PHP code but autoloaders.
    pub(crate) fn callable(&self, number: u32) -> Result<&Zval, Thrown> {
        let value = self.value(number).ok_or_else(|| missing(number))?;
        let mut problem: *mut c_char = ptr::null_mut();
        // SAFETY: a live value; on failure the engine hands over a text of its own memory.
        unsafe {
            let is_callable = zend_is_callable_ex(
                ptr::from_ref(value).cast_mut(),
                ptr::null_mut(),
                0,
                ptr::null_mut(),
                ptr::null_mut(),
                &raw mut problem,
            );
            let text = (!problem.is_null()).then(|| {
                let text = CStr::from_ptr(problem).to_string_lossy().into_owned();
                _efree(problem.cast());
                text
            });
            Thrown::check()?;
            if is_callable {
                return Ok(value);
            }
            let text = text.unwrap_or_else(|| "no array or string given".to_owned());
            Err(error::type_error_because(number, &format!("must be a valid callback, {text}")))
        }
    }

    /// Whether argument `number` was given.
    pub(crate) fn is_given(&self, number: u32) -> bool {
        number <= self.count()
    }

    /// `$this`, for classes without a Rust side.
    pub(crate) fn object(&self) -> Result<&ZendObject, Thrown> {
        self.ex.This.object().ok_or_else(|| error::misuse("Not called on an object"))
    }

    /// The Rust side of `$this`.
    ///
    /// The reference is good until PHP code runs: calling the constructor again replaces the value. So
    /// take out what is needed, and take the object after the arguments.
    pub(crate) fn this<T: RegisteredClass>(&self) -> Result<&T, Thrown> {
        self.ex
            .This
            .object()
            .and_then(ZendClassObject::<T>::from_zend_obj)
            .map(|object| &**object)
            .ok_or_else(|| {
                error::misuse(&format!(
                    "The {} object has not been correctly initialized by its constructor",
                    T::CLASS_NAME
                ))
            })
    }
}

/// Calls PHP code with one argument, and returns what it returns. Hold nothing.
pub(crate) fn call_user(callable: &Zval, argument: &Zval) -> Result<Zval, Thrown> {
    let mut result = Zval::new();
    let mut arguments = [argument.shallow_clone()];
    // SAFETY: checked to be callable; the engine copies the arguments and fills in the result.
    unsafe {
        _call_user_function_impl(
            ptr::null_mut(),
            ptr::from_ref(callable).cast_mut(),
            &raw mut result,
            1,
            arguments.as_mut_ptr(),
            ptr::null_mut(),
        );
    }
    Thrown::check()?;
    Ok(result)
}

/// A `string|array|null` argument.
pub(crate) enum Strings<'a> {
    /// Left out or null.
    None,
    /// One string.
    One(&'a ZendStr),
    /// An array, whose elements are not checked yet.
    Many(&'a ZendHashTable),
}

/// A copy of a value that is no argument itself (an element of an array argument), to be coerced by
/// the rules of argument `number`.
pub(crate) struct Element {
    value: Zval,
    number: u32,
}

impl Element {
    /// Copies `value` (a reference count, not the bytes).
    pub(crate) fn new(value: &Zval, number: u32) -> Self {
        Self { value: value.dereference().shallow_clone(), number }
    }

    /// The value as a string, or `None` if it is not one. May run PHP code.
    pub(crate) fn string(&mut self) -> Result<Option<&ZendStr>, Thrown> {
        if self.value.is_null() || (self.value.is_object() && !is_stringable(&self.value)) {
            return Ok(None);
        }
        if self.value.zend_str().is_none() {
            let mut text = ptr::null_mut();
            // SAFETY: our own zval; on success it holds the string that `text` points to.
            let is_parsed = unsafe {
                sys::zend_parse_arg_str_slow(&raw mut self.value, &raw mut text, self.number)
            };
            Thrown::check()?;
            if !is_parsed {
                return Ok(None);
            }
        }
        Ok(self.value.zend_str())
    }

    /// The value as an `int`, or `None`. May run PHP code (an error handler).
    pub(crate) fn int(&mut self) -> Result<Option<i64>, Thrown> {
        if let Some(number) = self.value.long() {
            return Ok(Some(number));
        }
        let mut number = 0;
        // SAFETY: our own zval. Null is excluded: its deprecation text would name a parameter.
        self.coerce(|value, argument| unsafe {
            sys::zend_parse_arg_long_slow(value, &raw mut number, argument)
        })
        .map(|is_int| is_int.then_some(number))
    }

    /// The value as a `float`, or `None`. May run PHP code (an error handler).
    pub(crate) fn float(&mut self) -> Result<Option<f64>, Thrown> {
        if self.value.is_double() {
            return Ok(self.value.double());
        }
        let mut number = 0.0;
        // SAFETY: as in `int`.
        self.coerce(|value, argument| unsafe {
            sys::zend_parse_arg_double_slow(value, &raw mut number, argument)
        })
        .map(|is_float| is_float.then_some(number))
    }

    /// The value as a `bool`, or `None`. May run PHP code (an error handler).
    pub(crate) fn bool(&mut self) -> Result<Option<bool>, Thrown> {
        if let Some(truth) = self.value.bool() {
            return Ok(Some(truth));
        }
        let mut truth = false;
        // SAFETY: as in `int`.
        self.coerce(|value, argument| unsafe {
            sys::zend_parse_arg_bool_slow(value, &raw mut truth, argument)
        })
        .map(|is_bool| is_bool.then_some(truth))
    }

    fn coerce(&mut self, parse: impl FnOnce(*mut Zval, u32) -> bool) -> Result<bool, Thrown> {
        if self.value.is_null() {
            return Ok(false);
        }
        let is_parsed = parse(&raw mut self.value, self.number);
        Thrown::check()?;
        Ok(is_parsed)
    }

    /// What the engine calls the value's type.
    pub(crate) fn type_name(&self) -> std::borrow::Cow<'static, str> {
        compat::type_name(&self.value).to_string_lossy()
    }

    /// The copy, coerced by what was asked of it.
    pub(crate) fn into_value(self) -> Zval {
        self.value
    }
}

fn is_stringable(value: &Zval) -> bool {
    value.object().is_some_and(|object| object.instance_of(ext_php_rs::zend::ce::stringable()))
}

/// Unreachable for callers that checked the number of arguments first; an `\Error` if they did not.
fn missing(number: u32) -> Thrown {
    error::misuse(&format!("argument {number} is missing"))
}

/// # Safety
/// `slot` is a live argument slot of the current frame. On success it owns the string returned.
unsafe fn string_in(slot: *mut Zval, number: u32) -> Result<*mut ZendStr, Thrown> {
    // SAFETY: promised by the caller.
    unsafe {
        if let Some(text) = (*slot).dereference().zend_str() {
            return Ok(ptr::from_ref(text).cast_mut());
        }
        let mut text = ptr::null_mut();
        if sys::zend_parse_arg_str_slow(slot, &raw mut text, number) {
            return Ok(text);
        }
        Err(wrong_type(number, _zend_expected_type_Z_EXPECTED_STRING, slot))
    }
}

/// # Safety
/// `slot` is a live argument slot of the current frame.
unsafe fn int_in(slot: *mut Zval, number: u32) -> Result<i64, Thrown> {
    // SAFETY: promised by the caller.
    unsafe {
        if let Some(value) = (*slot).dereference().long() {
            return Ok(value);
        }
        let mut value = 0;
        if sys::zend_parse_arg_long_slow(slot, &raw mut value, number) {
            return Thrown::check().map(|()| value);
        }
        Err(wrong_type(number, _zend_expected_type_Z_EXPECTED_LONG, slot))
    }
}

/// # Safety
/// `slot` is a live argument slot of the current frame.
unsafe fn float_in(slot: *mut Zval, number: u32) -> Result<f64, Thrown> {
    // SAFETY: promised by the caller.
    unsafe {
        if (*slot).dereference().is_double() {
            return Ok((*slot).dereference().double().unwrap_or_default());
        }
        let mut value = 0.0;
        if sys::zend_parse_arg_double_slow(slot, &raw mut value, number) {
            return Thrown::check().map(|()| value);
        }
        Err(wrong_type(number, _zend_expected_type_Z_EXPECTED_DOUBLE, slot))
    }
}

/// # Safety
/// `slot` is a live argument slot of the current frame.
unsafe fn wrong_type(number: u32, expected: u32, slot: *mut Zval) -> Thrown {
    // SAFETY: promised by the caller; it throws unless an exception is pending already.
    unsafe { sys::zend_wrong_parameter_type_error(number, expected, slot) };
    Thrown::by_engine()
}
