//! Registering classes with signatures that Reflection shows exactly as the stub has them.

use std::ffi::CString;
use std::sync::atomic::{AtomicPtr, Ordering};

use ext_php_rs::args::{Arg, ArgInfoTables};
use ext_php_rs::builders::{ClassBuilder, FunctionBuilder};
use ext_php_rs::class::RegisteredClass;
use ext_php_rs::error::{Error, Result};
use ext_php_rs::ffi::{
    HashTable, IS_ARRAY, IS_NULL, IS_STRING, zend_empty_array, zend_function, zend_object,
    zend_throw_exception, zend_type,
};
use ext_php_rs::flags::{DataType, MethodFlags, PropertyFlags};
use ext_php_rs::types::{ZendStr, Zval};
use ext_php_rs::zend::{ClassEntry, ExecuteData, ExecutorGlobals};

use super::error::Thrown;
use super::sys;

/// A parameter without a default.
pub(crate) fn required<'a>(name: &'static str, of: DataType) -> Arg<'a> {
    Arg::new(name, of)
}

/// A parameter whose default Reflection shows as `default`.
pub(crate) fn optional<'a>(name: &'static str, of: DataType, default: &'static str) -> Arg<'a> {
    Arg::new(name, of).default(default)
}

/// A type that ext-php-rs cannot spell, to be set after registration.
#[derive(Clone, Copy)]
pub(crate) struct Union {
    /// Method in lower case, as the engine keeps it.
    pub(crate) method: &'static str,
    /// Parameter, from 0.
    pub(crate) parameter: usize,
    /// Whether null is allowed besides string and array.
    pub(crate) or_null: bool,
}

/// Registers `T` with its methods. For use in the module's startup only.
pub(crate) fn register<T: RegisteredClass>(unions: &[Union]) -> Result<()> {
    let mut builder = ClassBuilder::new(T::CLASS_NAME);
    for (method, flags) in T::method_builders() {
        builder = builder.method(method, flags);
    }
    for interface in T::IMPLEMENTS {
        builder = builder.implements(*interface);
    }
    builder
        .flags(T::FLAGS)
        .object_override::<T>()
        .registration(|ce, arg_info| {
            T::get_metadata().set_ce(ce);
            T::get_metadata().set_arg_info(arg_info);
        })
        .register()?;
    for union in unions {
        set_union(T::get_metadata().ce(), *union)?;
    }
    Ok(())
}

fn set_union(ce: &ClassEntry, union: Union) -> Result<()> {
    let method = ce.function_table.get(union.method).ok_or(Error::InvalidPointer)?;
    // SAFETY: a method table holds pointers to functions, and these are internal ones. At startup
    // nobody else reads them. A pure union of built-in types is only its mask, in every version.
    unsafe {
        let function = method.ptr::<zend_function>().ok_or(Error::InvalidPointer)?;
        let info = (*function).internal_function.arg_info.add(union.parameter);
        (*info).type_.type_mask =
            1 << IS_ARRAY | 1 << IS_STRING | if union.or_null { 1 << IS_NULL } else { 0 };
    }
    Ok(())
}

/// What [`super::call::handler!`] makes.
pub(crate) type Handler = extern "C" fn(&mut ExecuteData, &mut Zval);

/// A method to be given parameters and a return type.
pub(crate) fn method(name: &'static str, handler: Handler) -> FunctionBuilder<'static> {
    FunctionBuilder::new(name, handler)
}

/// Where a class lives once it is registered. Filled anew at every module startup.
pub(crate) struct ClassSlot {
    class: AtomicPtr<ClassEntry>,
    /// What the engine points into for the life of the module: parked here and never read.
    arg_info: AtomicPtr<ArgInfoTables>,
}

impl ClassSlot {
    pub(crate) const fn new() -> Self {
        let (class, arg_info) = (std::ptr::null_mut(), std::ptr::null_mut());
        Self { class: AtomicPtr::new(class), arg_info: AtomicPtr::new(arg_info) }
    }

    /// The class.
    ///
    /// # Panics
    /// Before the module's startup has registered it.
    pub(crate) fn get(&self) -> &'static ClassEntry {
        // SAFETY: null, or a class that lives until the module is shut down.
        unsafe { self.class.load(Ordering::Acquire).as_ref() }
            .expect("classes are registered at module startup")
    }
}

/// `\RuntimeException`.
pub(crate) fn runtime_exception() -> &'static ClassEntry {
    // SAFETY: the SPL extension is always there and registers it before any shared module starts.
    unsafe { &*sys::spl_ce_RuntimeException }
}

/// Registers a class without Rust state: a plain subclass, so that `new`, `previous`, subclasses and
/// serialising behave as for the engine's own exceptions.
pub(crate) fn register_exception(
    name: &'static str,
    parent: fn() -> &'static ClassEntry,
    parent_name: &'static str,
    methods: Vec<FunctionBuilder<'static>>,
    slot: &'static ClassSlot,
) -> Result<()> {
    let mut builder = ClassBuilder::new(name).extends((parent, parent_name));
    for method in methods {
        builder = builder.method(method, MethodFlags::Public);
    }
    // The builder's hook cannot capture, and startup is single-threaded: the class comes this way.
    static REGISTERED: ClassSlot = ClassSlot::new();
    builder
        .registration(|ce, arg_info| {
            REGISTERED.class.store(ce, Ordering::Release);
            REGISTERED.arg_info.store(Box::into_raw(Box::new(arg_info)), Ordering::Release);
        })
        .register()?;
    slot.class.store(REGISTERED.class.load(Ordering::Acquire), Ordering::Release);
    slot.arg_info.store(REGISTERED.arg_info.load(Ordering::Acquire), Ordering::Release);
    Ok(())
}

/// Declares `private array $name = []`. At startup only.
pub(crate) fn declare_private_array(ce: &'static ClassEntry, name: &'static str) -> Result<()> {
    let mut default = Zval::new();
    default.u1.type_info = IS_ARRAY;
    // SAFETY: the engine's immutable empty array, which is not counted, so the zval owns nothing.
    default.value.arr = std::ptr::from_ref::<HashTable>(unsafe { &zend_empty_array }).cast_mut();
    let flags = i32::try_from(PropertyFlags::Private.bits())?;
    let of = zend_type { ptr: std::ptr::null_mut(), type_mask: 1 << IS_ARRAY };
    // SAFETY: at startup the class is not in use; the name is interned for the life of the process.
    unsafe {
        sys::zend_declare_typed_property(
            std::ptr::from_ref(ce).cast_mut(),
            ZendStr::new_interned(name, true).into_raw(),
            &raw mut default,
            flags,
            std::ptr::null_mut(),
            of,
        );
    }
    Ok(())
}

/// Throws `ce` with extra properties, unless an exception is pending already.
pub(crate) fn throw_with(
    ce: &'static ClassEntry,
    code: i64,
    message: &str,
    properties: Vec<(&'static str, Zval)>,
) -> Thrown {
    if !ExecutorGlobals::has_exception() {
        let message = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        let ce = std::ptr::from_ref(ce).cast_mut();
        // SAFETY: a class registered by us; the engine copies the message.
        let object = unsafe { zend_throw_exception(ce, message.as_ptr(), code) };
        for (name, mut value) in properties {
            // SAFETY: the exception just made, which the engine keeps alive; it takes its own
            // reference to the value.
            unsafe {
                sys::zend_update_property(
                    ce,
                    object,
                    name.as_ptr().cast(),
                    name.len(),
                    &raw mut value,
                );
            }
        }
    }
    Thrown::by_engine()
}

/// Reads a property declared by `ce` from an object of it.
pub(crate) fn read_property(ce: &'static ClassEntry, object: &zend_object, name: &str) -> Zval {
    let mut buffer = Zval::new();
    // SAFETY: a live object of the class; the result is borrowed from it and copied at once.
    unsafe {
        (*ext_php_rs::ffi::zend_read_property(
            std::ptr::from_ref(ce).cast_mut(),
            std::ptr::from_ref(object).cast_mut(),
            name.as_ptr().cast(),
            name.len(),
            true,
            &raw mut buffer,
        ))
        .dereference()
        .shallow_clone()
    }
}
