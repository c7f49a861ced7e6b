//! Reading an `iterable` argument to its end.
//!
//! It is read completely before anything is done with it: a generator runs PHP code, and no
//! connection may be in use meanwhile; and all of it can be checked before the first byte is sent.
//! Bodies are shared with PHP, not copied.

use ext_php_rs::types::{Iterable, ZendStr, Zval};
use ext_php_rs::zend::BailoutGuard;

use super::array::Key;
use super::call::{Call, Element};
use super::error::{self, Thrown};
use super::{compat, sys};

/// One pair of an `iterable` of strings.
pub(crate) struct Pair {
    /// The caller's key.
    pub(crate) key: Key,
    body: Zval,
}

impl Pair {
    /// The value's bytes.
    pub(crate) fn body(&self) -> &[u8] {
        self.body.zend_str().map_or(&[], ZendStr::as_bytes)
    }
}

/// Reads argument `number`, an `iterable` of strings. Runs PHP code: hold nothing.
///
/// The pairs are released even if that code ends in a fatal error.
pub(crate) fn string_pairs(
    call: &Call<'_>,
    number: u32,
) -> Result<BailoutGuard<Vec<Pair>>, Thrown> {
    let Some(argument) = call.value_mut(number) else {
        return Err(error::misuse("the iterable is missing"));
    };
    if !argument.is_array() && !argument.is_traversable() {
        return Err(error::type_error(number, c"Traversable|array", argument));
    }
    let mut pairs = BailoutGuard::new(Vec::new());
    let source = Source(argument.iterable().ok_or(()).or_else(|()| {
        Thrown::check()?;
        Err(error::type_error_because(number, "must be iterable"))
    })?);
    source.read_into(&mut pairs, number)?;
    Ok(pairs)
}

/// An iterable that releases the engine's iterator, which ext-php-rs leaves behind.
struct Source<'a>(Iterable<'a>);

impl Source<'_> {
    fn read_into(mut self, pairs: &mut Vec<Pair>, number: u32) -> Result<(), Thrown> {
        let Some(iterator) = self.0.iter() else {
            Thrown::check()?;
            return Err(error::type_error_because(number, "cannot be rewound"));
        };
        for (key, value) in iterator {
            pairs.push(pair(&key, &value, number)?);
        }
        Thrown::check()
    }
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        if let Iterable::Traversable(iterator) = &mut self.0 {
            // SAFETY: made for this argument by `get_iterator`, owned by nobody else.
            unsafe { sys::zend_iterator_dtor(&raw mut **iterator) };
        }
    }
}

fn pair(key: &Zval, value: &Zval, number: u32) -> Result<Pair, Thrown> {
    Thrown::check()?;
    let Some(key) = Key::from_value(key) else {
        let given = compat::type_name(key).to_string_lossy();
        return Err(error::type_error_because(
            number,
            &format!("must have keys of type int|string, {given} given"),
        ));
    };
    let mut element = Element::new(value, number);
    if element.string()?.is_none() {
        let given = element.type_name();
        return Err(error::type_error_because(
            number,
            &format!("must contain only values of type string, {given} given"),
        ));
    }
    Ok(Pair { key, body: element.into_value() })
}
