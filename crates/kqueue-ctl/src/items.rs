//! Single items: put, get, peek.

use std::fs;
use std::io::{self, Read};
use std::time::Duration;

use kqueue_proto::client::{PutOptions, Reply, get as encode_get, put as encode_put};
use kqueue_proto::{GetOptions, Name, Priority};
use serde_json::{Map, Value, json};

use crate::cli::{Get, Level, Put};
use crate::context::{Context, milliseconds, queue_name, write_out};
use crate::error::{Error, Result};
use crate::show::put_body;

pub(crate) fn put(context: &mut Context, put: &Put) -> Result<()> {
    let queue = queue_name(&put.queue)?;
    let ttl = put.ttl.unwrap_or_default();
    if ttl.subsec_nanos() != 0 {
        return Err(Error::Usage("--ttl has whole seconds".to_owned()));
    }
    let too_long = |what: &str| Error::Usage(format!("--{what} is too long"));
    let options = PutOptions {
        ttl_seconds: u32::try_from(ttl.as_secs()).map_err(|_| too_long("ttl"))?,
        flags: put.flags,
        delay_ms: u64::try_from(put.delay.unwrap_or_default().as_millis())
            .map_err(|_| too_long("delay"))?,
        priority: match put.priority {
            Level::High => Priority::High,
            Level::Normal => Priority::Normal,
            Level::Low => Priority::Low,
        },
        idempotency_key: put.key.as_deref().map(str::as_bytes),
    };
    let input = input(put)?;
    if !put.lines {
        return put_one(context, &queue, &input, &options);
    }
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        put_one(context, &queue, line.strip_suffix(b"\r").unwrap_or(line), &options)?;
    }
    Ok(())
}

fn input(put: &Put) -> Result<Vec<u8>> {
    if let Some(body) = &put.body {
        return Ok(body.as_bytes().to_vec());
    }
    if let Some(file) = &put.file {
        return fs::read(file).map_err(|error| Error::Here(format!("{}: {error}", file.display())));
    }
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    Ok(input)
}

fn put_one(
    context: &mut Context,
    queue: &Name,
    body: &[u8],
    options: &PutOptions<'_>,
) -> Result<()> {
    let mut line = Vec::new();
    encode_put(&mut line, queue.by_ref(), body.len(), options)?;
    match context.connection.ask(&line, Some(body))? {
        Reply::Stored(Some(id)) => context.print(|| json!({ "id": id }), || id.to_string()),
        other => Err(context.connection.unexpected(&other)),
    }
}

pub(crate) fn get(context: &mut Context, get: &Get) -> Result<()> {
    let wait = get.wait.unwrap_or_default();
    let wait_ms = milliseconds(wait, "wait")?;
    one(context, &get.queue, &GetOptions { wait_ms, ..GetOptions::default() }, wait)
}

pub(crate) fn peek(context: &mut Context, queue: &str) -> Result<()> {
    let options = GetOptions { peek: true, ..GetOptions::default() };
    one(context, queue, &options, Duration::ZERO)
}

fn one(context: &mut Context, queue: &str, options: &GetOptions, wait: Duration) -> Result<()> {
    let name = queue_name(queue)?;
    let mut line = Vec::new();
    encode_get(&mut line, name.by_ref(), options)?;
    context.connection.send(&line, None, wait)?;
    match context.connection.reply()? {
        Reply::Value { body, flags, .. } => {
            let end = context.connection.reply()?;
            if end != Reply::End {
                return Err(context.connection.unexpected(&end));
            }
            if !context.json {
                return write_out(&body, false);
            }
            let mut object = Map::new();
            object.insert("queue".to_owned(), queue.into());
            object.insert("flags".to_owned(), flags.into());
            put_body(&mut object, &body);
            context.print(|| Value::Object(object), String::new)
        }
        Reply::End => Err(Error::Nothing(format!("no item of {queue} is ready"))),
        other => Err(context.connection.unexpected(&other)),
    }
}
