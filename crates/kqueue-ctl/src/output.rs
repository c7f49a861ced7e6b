//! What is printed: lines for people, or one JSON object per line, whose names stay the same.

use std::io::{self, BufWriter, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kqueue_proto::{DeadCause, Found, ItemState, Priority};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::format::name_text;
use crate::server::Held;

pub(crate) struct Output {
    out: BufWriter<io::Stdout>,
    is_json: bool,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { out: BufWriter::new(io::stdout()), is_json }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// A line for people, or an object.
    pub(crate) fn say(&mut self, text: &str, object: Value) -> Result<()> {
        if self.is_json { self.object(&object) } else { self.line(text) }
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<()> {
        Ok(writeln!(self.out, "{text}")?)
    }

    pub(crate) fn object(&mut self, object: &Value) -> Result<()> {
        Ok(writeln!(self.out, "{object}")?)
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.out.write_all(bytes)?)
    }

    /// What was said has been taken by whoever reads it, at least by the system.
    pub(crate) fn flush(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }
}

/// An item that was handed out.
pub(crate) fn held_object(item: &Held) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("queue".to_owned(), name_text(&item.queue).into());
    object.insert("id".to_owned(), item.id.into());
    object.insert("flags".to_owned(), item.flags.into());
    object.insert("attempts".to_owned(), item.attempts.into());
    object.insert("age_ms".to_owned(), item.age_ms.into());
    object.insert("size".to_owned(), item.body.len().into());
    insert_bytes(&mut object, "body", &item.body);
    object
}

/// An item that was only looked at. The body is all of it if it has `size` bytes.
pub(crate) fn found_object(item: &Found) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("queue".to_owned(), name_text(&item.key).into());
    object.insert("id".to_owned(), item.id.into());
    object.insert("state".to_owned(), state_word(item.state).into());
    object.insert("flags".to_owned(), item.flags.into());
    object.insert("attempts".to_owned(), item.attempts.into());
    object.insert("age_ms".to_owned(), item.age_ms.into());
    object.insert("priority".to_owned(), priority_word(item.priority).into());
    for (name, value) in
        [("ttl_ms", item.ttl_ms), ("due_ms", item.due_ms), ("lease_ms", item.lease_ms)]
    {
        if let Some(value) = value {
            object.insert(name.to_owned(), value.into());
        }
    }
    if let Some(dead) = &item.dead {
        object.insert("cause".to_owned(), cause_word(dead.cause).into());
        object.insert("first_ms".to_owned(), dead.first_ms.into());
        object.insert("last_ms".to_owned(), dead.last_ms.into());
        insert_bytes(&mut object, "reason", &dead.reason);
    }
    if let Some((queue, id)) = &item.origin {
        object.insert("origin".to_owned(), name_text(queue).into());
        object.insert("origin_id".to_owned(), (*id).into());
    }
    object.insert("size".to_owned(), item.size.into());
    let is_whole = item.size == item.body.len() as u64;
    insert_bytes(&mut object, "body", if is_whole { &item.body } else { whole_chars(&item.body) });
    object
}

/// Without the character at the end of which only the beginning is there: a body that was cut is text all the same.
pub(crate) fn whole_chars(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

/// Text as it is; what is not UTF-8 as base64 under a name of its own.
pub(crate) fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

pub(crate) fn state_word(state: ItemState) -> &'static str {
    match state {
        ItemState::Ready => "ready",
        ItemState::Delayed => "delayed",
        ItemState::Open => "open",
        ItemState::Dead => "dead",
    }
}

pub(crate) fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    }
}

pub(crate) fn cause_word(cause: DeadCause) -> &'static str {
    match cause {
        DeadCause::Attempts => "attempts",
        DeadCause::Buried => "buried",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kqueue_proto::{FoundDead, Name};

    use super::*;

    fn text(object: Map<String, Value>) -> String {
        Value::Object(object).to_string()
    }

    #[test]
    fn a_body_that_is_no_text_has_another_name() {
        let name = Name::check(b"jobs").expect("a name").to_name();
        let mut item =
            Held { queue: name, id: 7, flags: 1, attempts: 2, age_ms: 3, body: Bytes::from("h\n") };
        assert_eq!(
            text(held_object(&item)),
            r#"{"queue":"jobs","id":7,"flags":1,"attempts":2,"age_ms":3,"size":2,"body":"h\n"}"#
        );
        item.body = Bytes::from_static(b"\xff\x00");
        assert_eq!(
            text(held_object(&item)),
            r#"{"queue":"jobs","id":7,"flags":1,"attempts":2,"age_ms":3,"size":2,"body_base64":"/wA="}"#
        );
    }

    #[test]
    fn a_body_that_was_cut_within_a_character_is_text() {
        assert_eq!(whole_chars("aä".as_bytes()), "aä".as_bytes());
        assert_eq!(whole_chars(&"aä".as_bytes()[..2]), b"a");
        assert_eq!(whole_chars(b"a\xffb"), b"a\xffb");
    }

    #[test]
    fn what_browse_says_of_an_item_is_there_and_nothing_else() {
        let mut item = Found {
            key: Bytes::from_static(b"jobs"),
            id: u64::MAX,
            state: ItemState::Ready,
            size: 9,
            flags: 0,
            attempts: 1,
            age_ms: 2,
            priority: Priority::Normal,
            ttl_ms: None,
            due_ms: None,
            lease_ms: None,
            dead: None,
            origin: None,
            body: Bytes::from_static(b"abc"),
        };
        assert_eq!(
            text(found_object(&item)),
            r#"{"queue":"jobs","id":18446744073709551615,"state":"ready","flags":0,"attempts":1,"age_ms":2,"priority":"normal","size":9,"body":"abc"}"#
        );
        item.state = ItemState::Dead;
        item.ttl_ms = Some(5);
        item.origin = Some((Bytes::from_static(b"mails"), 4));
        item.dead = Some(FoundDead {
            cause: DeadCause::Buried,
            first_ms: 10,
            last_ms: 20,
            reason: Bytes::from_static(b"no"),
        });
        assert_eq!(
            text(found_object(&item)),
            r#"{"queue":"jobs","id":18446744073709551615,"state":"dead","flags":0,"attempts":1,"age_ms":2,"priority":"normal","ttl_ms":5,"cause":"buried","first_ms":10,"last_ms":20,"reason":"no","origin":"mails","origin_id":4,"size":9,"body":"abc"}"#
        );
    }
}
