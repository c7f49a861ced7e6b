//! Values on their way to PHP: strings, arrays, objects.

use ext_php_rs::boxed::ZBox;
use ext_php_rs::class::RegisteredClass;
use ext_php_rs::types::{ZendClassObject, ZendHashTable, ZendStr, Zval};

/// A key of a PHP array.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// An integer key, or a string key that PHP writes as an integer.
    Int(i64),
    /// Any other string key.
    Text(Box<[u8]>),
}

impl Key {
    /// Normalises a string key as the engine does: `"12"` is 12, `"012"` and `"+1"` are strings.
    pub(crate) fn from_text(text: &[u8]) -> Self {
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<i64>().ok().filter(|int| int.to_string() == text))
            // The engine leaves the smallest integer a string.
            .filter(|int| *int != i64::MIN)
            .map_or_else(|| Self::Text(text.into()), Self::Int)
    }

    /// The key that a value makes; `None` unless it is an int or a string.
    pub(crate) fn from_value(value: &Zval) -> Option<Self> {
        match (value.long(), value.zend_str()) {
            (Some(index), _) => Some(Self::Int(index)),
            (None, Some(text)) => Some(Self::from_text(text.as_bytes())),
            (None, None) => None,
        }
    }

    /// The key as a value.
    pub(crate) fn into_value(self) -> Zval {
        match self {
            Self::Int(index) => {
                let mut value = Zval::new();
                value.set_long(index);
                value
            }
            Self::Text(text) => string(&text),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(index) => write!(f, "{index}"),
            Self::Text(text) => write!(f, "\"{}\"", text.escape_ascii()),
        }
    }
}

/// An array being built.
pub(crate) struct ArrayBuilder(ZBox<ZendHashTable>);

impl ArrayBuilder {
    pub(crate) fn new() -> Self {
        Self(ZendHashTable::new())
    }

    /// Sets `key` to `value`.
    pub(crate) fn set(&mut self, key: &Key, value: Zval) {
        match key {
            Key::Int(index) => {
                // SAFETY: the table is ours alone. The engine takes over the value's reference,
                // which is why ours is forgotten.
                unsafe {
                    ext_php_rs::ffi::zend_hash_index_update(
                        &raw mut *self.0,
                        index.cast_unsigned(),
                        (&raw const value).cast_mut(),
                    );
                }
            }
            Key::Text(text) => {
                // SAFETY: as above; the engine copies the key's bytes.
                unsafe {
                    ext_php_rs::ffi::zend_hash_str_update(
                        &raw mut *self.0,
                        text.as_ptr().cast(),
                        text.len(),
                        (&raw const value).cast_mut(),
                    );
                }
            }
        }
        std::mem::forget(value);
    }

    /// Sets a string key.
    pub(crate) fn set_text(&mut self, key: &str, value: Zval) {
        self.set(&Key::from_text(key.as_bytes()), value);
    }

    /// Appends `value`.
    pub(crate) fn push(&mut self, value: Zval) {
        // SAFETY: as in `set`.
        unsafe {
            ext_php_rs::ffi::zend_hash_next_index_insert(
                &raw mut *self.0,
                (&raw const value).cast_mut(),
            );
        }
        std::mem::forget(value);
    }

    /// The finished array.
    pub(crate) fn finish(self) -> Zval {
        let mut value = Zval::new();
        value.set_hashtable(self.0);
        value
    }
}

/// The pairs of a table. (The iterator of ext-php-rs panics on keys that are not UTF-8.)
pub(crate) fn pairs(table: &ZendHashTable) -> impl Iterator<Item = (Key, &Zval)> {
    let mut iterator = table.iter();
    std::iter::from_fn(move || {
        let (key, value) = iterator.next_zval()?;
        Some((Key::from_value(&key).unwrap_or(Key::Int(0)), value))
    })
}

/// `null`.
pub(crate) fn null() -> Zval {
    Zval::null()
}

/// A string, copied once.
pub(crate) fn string(bytes: &[u8]) -> Zval {
    let mut value = Zval::new();
    value.set_zend_string(ZendStr::new(bytes, false));
    value
}

/// An int; what does not fit (above 2^63) is capped.
pub(crate) fn int(number: u64) -> Zval {
    let mut value = Zval::new();
    value.set_long(i64::try_from(number).unwrap_or(i64::MAX));
    value
}

/// A float.
pub(crate) fn float(number: f64) -> Zval {
    let mut value = Zval::new();
    value.set_double(number);
    value
}

/// A bool.
pub(crate) fn bool(truth: bool) -> Zval {
    let mut value = Zval::new();
    value.set_bool(truth);
    value
}

/// A new object of class `T`.
pub(crate) fn object<T: RegisteredClass>(state: T) -> Zval {
    let mut object = ZendClassObject::new(state);
    let mut value = Zval::new();
    // Inserting adds a reference; the one of the box is given up for it.
    value.set_object(object.get_mut_zend_obj());
    drop(object);
    value
}
