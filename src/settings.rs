//! Ini settings and constructor options, both turned into the client's [`Options`].
//!
//! The ini settings are the defaults of the options. Both are checked by the same rules; times are
//! milliseconds where the name says `_ms`, else seconds.

use std::ffi::CStr;
use std::time::Duration;

use ext_php_rs::flags::IniEntryPermission;
use ext_php_rs::types::{ZendHashTable, Zval};
use ext_php_rs::zend::{IniEntryDef, IniEntryDefs};
use kqueue_client::{Address, Failover, Options, RetryMode};

use crate::zend::array::{self, Key};
use crate::zend::call::{Call, Element, Strings};
use crate::zend::error::{self, Thrown};
use crate::zend::ini::{self, Check, define};

const MAX_TIMEOUT_MS: u64 = 600_000;
const MAX_RETRIES: u64 = 100;
const MAX_IDLE_SECONDS: u64 = 86_400;
const MAX_CONNECTIONS: u64 = 10_000;
/// The greatest time option, in seconds.
const MAX_OPTION_SECONDS: f64 = 86_400.0;
/// The longest `persistent_id`, in bytes.
const MAX_ID_BYTES: usize = 255;

static CHECK_SERVERS: Check = |value| {
    let text = std::str::from_utf8(value).map_err(|_| "must be a list of addresses".to_owned())?;
    match Address::parse_list(text) {
        Ok(_) => Ok(()),
        Err(problem) => Err(format!("must be a list of addresses: {problem}")),
    }
};
static CHECK_TIMEOUT: Check = |value| check_number(value, 1, MAX_TIMEOUT_MS);
static CHECK_RETRIES: Check = |value| check_number(value, 0, MAX_RETRIES);
static CHECK_RETRY_MODE: Check = |value| retry_mode(value).map(|_| ());
static CHECK_FAILOVER: Check = |value| failover(value).map(|_| ());
static CHECK_SWITCH: Check = |value| switch(value).map(|_| ());
static CHECK_IDLE: Check = |value| check_number(value, 0, MAX_IDLE_SECONDS);
static CHECK_CONNECTIONS: Check = |value| check_number(value, 1, MAX_CONNECTIONS);

const SERVERS: &CStr = c"kqueue.servers";
const CONNECT_TIMEOUT_MS: &CStr = c"kqueue.connect_timeout_ms";
const TIMEOUT_MS: &CStr = c"kqueue.timeout_ms";
const RETRIES: &CStr = c"kqueue.retries";
const RETRY_MODE: &CStr = c"kqueue.retry_mode";
const FAILOVER: &CStr = c"kqueue.failover";
const PERSISTENT: &CStr = c"kqueue.persistent";
const MAX_IDLE_S: &CStr = c"kqueue.pool_max_idle_s";
const MAX_CONNECTIONS_INI: &CStr = c"kqueue.pool_max_connections";

static DEFINITIONS: IniEntryDefs<10> = {
    const ALL: IniEntryPermission = IniEntryPermission::All;
    const SYSTEM: IniEntryPermission = IniEntryPermission::System;
    IniEntryDefs::new([
        define(SERVERS, c"127.0.0.1:22133", ALL, &CHECK_SERVERS),
        define(CONNECT_TIMEOUT_MS, c"250", ALL, &CHECK_TIMEOUT),
        define(TIMEOUT_MS, c"1000", ALL, &CHECK_TIMEOUT),
        define(RETRIES, c"2", ALL, &CHECK_RETRIES),
        define(RETRY_MODE, c"safe", ALL, &CHECK_RETRY_MODE),
        define(FAILOVER, c"random", ALL, &CHECK_FAILOVER),
        define(PERSISTENT, c"1", SYSTEM, &CHECK_SWITCH),
        define(MAX_IDLE_S, c"60", SYSTEM, &CHECK_IDLE),
        define(MAX_CONNECTIONS_INI, c"8", SYSTEM, &CHECK_CONNECTIONS),
        IniEntryDef::end(),
    ])
};

/// Registers the ini settings. At module startup only.
pub(crate) fn register(module_number: i32) {
    IniEntryDef::register(DEFINITIONS.as_slice(), module_number);
}

/// The servers named by argument `number`, or by ini `kqueue.servers` if it is null or left out. May
/// run PHP code.
pub(crate) fn servers(call: &Call<'_>, number: u32) -> Result<Vec<Address>, Thrown> {
    let list = match call.strings(number, true)? {
        Strings::None => Address::parse_list(&ini::text(SERVERS)),
        Strings::One(text) => Address::parse_list(&String::from_utf8_lossy(text.as_bytes())),
        Strings::Many(table) => Address::parse_list(&joined(table, number)?),
    };
    list.map_err(|problem| error::value_error(number, &format!("is invalid: {problem}")))
}

/// The elements of a list of addresses, each of which may itself be a list.
fn joined(table: &ZendHashTable, number: u32) -> Result<String, Thrown> {
    let mut list = String::new();
    for (_, value) in array::pairs(table) {
        let mut element = Element::new(value, number);
        let Some(text) = element.string()? else {
            let given = element.type_name();
            return Err(error::type_error_because(
                number,
                &format!("must contain only values of type string, {given} given"),
            ));
        };
        list.push_str(&String::from_utf8_lossy(text.as_bytes()));
        list.push(',');
    }
    Ok(list)
}

/// The options as the ini settings have them.
pub(crate) fn defaults() -> Options {
    let milliseconds = |name| Duration::from_millis(ini::int(name).unsigned_abs());
    // Every value has passed its check, so the fallbacks are never taken.
    Options {
        connect_timeout: milliseconds(CONNECT_TIMEOUT_MS),
        timeout: milliseconds(TIMEOUT_MS),
        retries: u32::try_from(ini::int(RETRIES)).unwrap_or_default(),
        retry_mode: retry_mode(ini::text(RETRY_MODE).as_bytes()).unwrap_or(RetryMode::Safe),
        failover: failover(ini::text(FAILOVER).as_bytes()).unwrap_or(Failover::Random),
        persistent: switch(ini::text(PERSISTENT).as_bytes()).unwrap_or(true),
        max_idle: Duration::from_secs(ini::int(MAX_IDLE_S).unsigned_abs()),
        pool_max_connections: usize::try_from(ini::int(MAX_CONNECTIONS_INI)).unwrap_or(1),
        ..Options::default()
    }
}

/// The options of argument `number`, on top of the ini settings. May run PHP code.
pub(crate) fn options(table: Option<&ZendHashTable>, number: u32) -> Result<Options, Thrown> {
    let mut options = defaults();
    let Some(table) = table else { return Ok(options) };
    for (key, value) in array::pairs(table) {
        let name = match key {
            Key::Int(index) => index.to_string(),
            Key::Text(text) => text.escape_ascii().to_string(),
        };
        set_option(&mut options, &name, value, number)?;
    }
    match options.validate() {
        Ok(()) => Ok(options),
        Err(problem) => Err(error::value_error(number, &format!("is invalid: {problem}"))),
    }
}

/// For the error that an unknown one meets.
const OPTION_NAMES: &str = "connect_timeout, timeout, retries, retry_mode, backoff_base, backoff_cap, failover, eject_time, persistent, persistent_id and max_idle";

fn set_option(options: &mut Options, name: &str, value: &Zval, number: u32) -> Result<(), Thrown> {
    let mut option = OptionValue { name, element: Element::new(value, number), number };
    match name {
        "connect_timeout" => options.connect_timeout = option.timeout()?,
        "timeout" => options.timeout = option.timeout()?,
        "retries" => options.retries = option.count(MAX_RETRIES)?,
        "retry_mode" => options.retry_mode = option.word(retry_mode)?,
        "backoff_base" => options.backoff_base = option.seconds()?,
        "backoff_cap" => options.backoff_cap = option.seconds()?,
        "failover" => options.failover = option.word(failover)?,
        "eject_time" => options.eject_time = option.seconds()?,
        "persistent" => options.persistent = option.bool()?,
        "persistent_id" => options.persistent_id = option.id()?,
        "max_idle" => options.max_idle = option.seconds()?,
        _ => {
            return Err(error::value_error(
                number,
                &format!("has an unknown option \"{name}\", the options are {OPTION_NAMES}"),
            ));
        }
    }
    Ok(())
}

/// One value of the options array. Its errors name the option and never show the value.
struct OptionValue<'a> {
    name: &'a str,
    element: Element,
    number: u32,
}

impl OptionValue<'_> {
    fn wrong_type(&self, expected: &str) -> Thrown {
        let (name, given) = (self.name, self.element.type_name());
        error::type_error_because(
            self.number,
            &format!("option \"{name}\" must be of type {expected}, {given} given"),
        )
    }

    fn wrong_value(&self, must: &str) -> Thrown {
        error::value_error(self.number, &format!("option \"{}\" {must}", self.name))
    }

    /// A time that may be zero.
    fn seconds(&mut self) -> Result<Duration, Thrown> {
        let seconds = self.element.float()?.ok_or_else(|| self.wrong_type("float"))?;
        if (0.0..=MAX_OPTION_SECONDS).contains(&seconds) {
            return Ok(Duration::from_secs_f64(seconds));
        }
        Err(self.wrong_value(&format!("must be between 0 and {MAX_OPTION_SECONDS} seconds")))
    }

    /// A time to wait for, at least a millisecond: nothing answers in no time.
    fn timeout(&mut self) -> Result<Duration, Thrown> {
        let time = self.seconds()?;
        if time < Duration::from_millis(1) {
            return Err(self.wrong_value("must be at least 0.001 seconds"));
        }
        Ok(time)
    }

    fn count(&mut self, max: u64) -> Result<u32, Thrown> {
        let count = self.element.int()?.ok_or_else(|| self.wrong_type("int"))?;
        match u32::try_from(count) {
            Ok(count) if u64::from(count) <= max => Ok(count),
            _ => Err(self.wrong_value(&format!("must be between 0 and {max}"))),
        }
    }

    fn bool(&mut self) -> Result<bool, Thrown> {
        self.element.bool()?.ok_or_else(|| self.wrong_type("bool"))
    }

    fn text(&mut self) -> Result<Vec<u8>, Thrown> {
        match self.element.string()? {
            Some(text) => Ok(text.as_bytes().to_vec()),
            None => Err(self.wrong_type("string")),
        }
    }

    fn word<T>(&mut self, parse: fn(&[u8]) -> Result<T, String>) -> Result<T, Thrown> {
        let text = self.text()?;
        parse(&text).map_err(|must| self.wrong_value(&must))
    }

    fn id(&mut self) -> Result<String, Thrown> {
        match String::from_utf8(self.text()?) {
            Ok(id) if id.len() <= MAX_ID_BYTES => Ok(id),
            _ => {
                Err(self
                    .wrong_value(&format!("must be UTF-8 text of at most {MAX_ID_BYTES} bytes")))
            }
        }
    }
}

fn retry_mode(value: &[u8]) -> Result<RetryMode, String> {
    match value {
        b"safe" => Ok(RetryMode::Safe),
        b"always" => Ok(RetryMode::Always),
        b"never" => Ok(RetryMode::Never),
        _ => Err("must be \"safe\", \"always\" or \"never\"".to_owned()),
    }
}

fn failover(value: &[u8]) -> Result<Failover, String> {
    match value {
        b"random" => Ok(Failover::Random),
        b"ordered" => Ok(Failover::Ordered),
        _ => Err("must be \"random\" or \"ordered\"".to_owned()),
    }
}

/// The words of a boolean ini setting.
fn switch(value: &[u8]) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_slice() {
        b"1" | b"on" | b"yes" | b"true" => Ok(true),
        b"" | b"0" | b"off" | b"no" | b"false" => Ok(false),
        _ => Err("must be on or off".to_owned()),
    }
}

/// Plain digits only: the engine's own reading of numbers accepts (and misreads) much more.
fn check_number(value: &[u8], min: u64, max: u64) -> Result<(), String> {
    let number = std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        // A leading zero would make it octal.
        .filter(|text| *text == "0" || !text.starts_with('0'))
        .and_then(|text| text.parse::<u64>().ok());
    match number {
        Some(number) if (min..=max).contains(&number) => Ok(()),
        _ => Err(format!("must be an integer between {min} and {max}")),
    }
}
