//! Checks of arguments beyond their type: all of them `ValueError`s, raised before a byte is sent.

use std::time::Duration;

use ext_php_rs::types::ZendHashTable;
use kqueue_client::Cluster;

use crate::zend::array;
use crate::zend::call::{Call, Element, Strings};
use crate::zend::error::{self, Thrown};

/// The longest time that fits the protocol, which counts milliseconds in 31 bits.
const MAX_SECONDS: f64 = 2_147_483.0;
/// The greatest ttl in seconds.
const MAX_TTL_SECONDS: i64 = 2_147_483_647;
/// The longest delay that a server takes: ten years.
const MAX_DELAY_SECONDS: f64 = 315_360_000.0;
/// What a server keeps of a reason.
const MAX_REASON_BYTES: usize = 1024;
/// How many queues one reserve may name.
const MAX_QUEUES: usize = 16;

/// Argument `number` as the name of a queue.
pub(crate) fn queue<'a>(call: &'a Call<'_>, number: u32) -> Result<&'a [u8], Thrown> {
    let name = call.string(number)?.as_bytes();
    match Cluster::check_queue_name(name) {
        Ok(()) => Ok(name),
        Err(problem) => {
            Err(error::value_error(number, &format!("must be a queue name: {problem}")))
        }
    }
}

/// Argument `number` as the names of one or several queues, in the caller's order.
pub(crate) fn queues(call: &Call<'_>, number: u32) -> Result<Vec<Vec<u8>>, Thrown> {
    match call.strings(number, false)? {
        Strings::One(_) | Strings::None => Ok(vec![queue(call, number)?.to_vec()]),
        Strings::Many(table) => queue_list(table, number),
    }
}

fn queue_list(table: &ZendHashTable, number: u32) -> Result<Vec<Vec<u8>>, Thrown> {
    if table.is_empty() || table.len() > MAX_QUEUES {
        return Err(error::value_error(
            number,
            &format!("must name between 1 and {MAX_QUEUES} queues"),
        ));
    }
    let mut names = Vec::with_capacity(table.len());
    for (_, value) in array::pairs(table) {
        let mut element = Element::new(value, number);
        let Some(name) = element.string()?.map(|name| name.as_bytes().to_vec()) else {
            return Err(error::type_error_because(
                number,
                &format!("must contain only values of type string, {} given", element.type_name()),
            ));
        };
        if let Err(problem) = Cluster::check_queue_name(&name) {
            return Err(error::value_error(
                number,
                &format!("must contain only queue names: {problem}"),
            ));
        }
        names.push(name);
    }
    Ok(names)
}

/// Optional argument `number` as a time in seconds.
pub(crate) fn seconds(call: &Call<'_>, number: u32) -> Result<Duration, Thrown> {
    let value = call.float(number, 0.0)?;
    if (0.0..=MAX_SECONDS).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    Err(error::value_error(number, &format!("must be between 0 and {MAX_SECONDS} seconds")))
}

/// Optional argument `number` as a delay in seconds; `None` if it was left out.
pub(crate) fn delay(call: &Call<'_>, number: u32) -> Result<Option<Duration>, Thrown> {
    let value = call.float(number, 0.0)?;
    if !(0.0..=MAX_DELAY_SECONDS).contains(&value) {
        let text = format!("must be between 0 and {MAX_DELAY_SECONDS} seconds");
        return Err(error::value_error(number, &text));
    }
    Ok(call.is_given(number).then(|| Duration::from_secs_f64(value)))
}

/// Argument `number` as the most items to take at once, at least one.
pub(crate) fn at_most(call: &Call<'_>, number: u32) -> Result<u32, Thrown> {
    let value = call.int(number, 1)?;
    if value < 1 {
        return Err(error::value_error(number, "must be at least 1"));
    }
    // A server gives no more than a thousand.
    Ok(u32::try_from(value).unwrap_or(u32::MAX))
}

/// Optional argument `number` as a number of items after which to stop; `None` if it is 0.
pub(crate) fn stop_after(call: &Call<'_>, number: u32) -> Result<Option<u64>, Thrown> {
    match u64::try_from(call.int(number, 0)?) {
        Ok(0) => Ok(None),
        Ok(count) => Ok(Some(count)),
        Err(_) => Err(error::value_error(number, "must be at least 0")),
    }
}

/// Optional argument `number` as the reason of a burial: what is kept of it.
///
/// Its beginning is worth more than an exception in the place where a program deals with one.
pub(crate) fn reason<'a>(call: &'a Call<'_>, number: u32) -> Result<&'a [u8], Thrown> {
    if !call.is_given(number) {
        return Ok(b"");
    }
    let text = call.string(number)?.as_bytes();
    if text.len() <= MAX_REASON_BYTES {
        return Ok(text);
    }
    // No half a character at the end, if it is text.
    let is_inside = |at: usize| text[at] & 0xc0 == 0x80;
    let end = (MAX_REASON_BYTES - 3..=MAX_REASON_BYTES).rev().find(|&at| !is_inside(at));
    Ok(&text[..end.unwrap_or(MAX_REASON_BYTES)])
}

/// Optional argument `number` as a time to live in whole seconds; 0 means for ever.
pub(crate) fn ttl(call: &Call<'_>, number: u32) -> Result<u32, Thrown> {
    let value = call.int(number, 0)?;
    match u32::try_from(value) {
        Ok(ttl) if value <= MAX_TTL_SECONDS => Ok(ttl),
        _ => Err(error::value_error(
            number,
            &format!("must be between 0 and {MAX_TTL_SECONDS} seconds"),
        )),
    }
}
