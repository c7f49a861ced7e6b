//! What can be asked of the server, one function per request, and what it answers.
//!
//! Invariant: every reply is read to its end before a function returns, unless it returns an error.

use std::time::Duration;

use bytes::Bytes;
use kqueue_proto::client::{
    self, BODY_END, BrowseOptions, Capabilities, EncodeError, PutOptions, Reply,
};
use kqueue_proto::{Cursor, Found, GetOptions, ItemState, Kick, Name, NameRef, Purge};

use crate::address::Address;
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::format::name_text;

/// What the server does not wait for by itself.
const AT_ONCE: Duration = Duration::ZERO;

pub(crate) struct Server {
    connection: Connection,
}

/// An item that this connection holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) queue: Name,
    pub(crate) id: u64,
    pub(crate) flags: u32,
    pub(crate) attempts: u32,
    pub(crate) age_ms: u64,
    pub(crate) body: Bytes,
}

/// Figures by their names, as the server says them.
pub(crate) type Figures = Vec<(String, String)>;

impl Server {
    pub(crate) fn connect(address: &Address, timeout: Duration) -> Result<Self> {
        Ok(Self { connection: Connection::open(address, timeout)? })
    }

    /// As messages name it.
    pub(crate) fn name(&self) -> &str {
        self.connection.server()
    }

    fn refused(&self, doing: &str, reply: &Reply) -> Error {
        Error::of_reply(self.name(), doing, reply)
    }

    fn ask(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> std::result::Result<(), EncodeError>,
    ) -> Result<Reply> {
        let mut line = Vec::new();
        encode(&mut line)?;
        self.connection.send(&[&line])?;
        self.connection.receive(AT_ONCE)
    }

    /// Sends a put without waiting for its answer.
    pub(crate) fn send_put(
        &mut self,
        queue: &Name,
        body: &[u8],
        options: &PutOptions<'_>,
    ) -> Result<()> {
        let mut line = Vec::new();
        client::put(&mut line, queue.by_ref(), body.len(), options)?;
        self.connection.send(&[&line, body, BODY_END])
    }

    /// The id that the oldest unanswered put got.
    pub(crate) fn put_answer(&mut self, queue: &Name) -> Result<u64> {
        match self.connection.receive(AT_ONCE)? {
            Reply::Stored(Some(id)) => Ok(id),
            other => Err(self.refused(&format!("the put to {}", name_text(queue)), &other)),
        }
    }

    /// Up to `max` items; none if none came for `wait_ms`.
    pub(crate) fn reserve(
        &mut self,
        queues: &[Name],
        max: u32,
        wait_ms: u32,
        lease_ms: u32,
    ) -> Result<Vec<Held>> {
        let names: Vec<NameRef<'_>> = queues.iter().map(Name::by_ref).collect();
        let mut line = Vec::new();
        client::reserve(&mut line, max, wait_ms, lease_ms, &names)?;
        self.connection.send(&[&line])?;
        let mut items = Vec::new();
        loop {
            match self.connection.receive(Duration::from_millis(wait_ms.into()))? {
                Reply::Item { key, id, flags, attempts, age_ms, body } => {
                    let Some(queue) = queues.iter().find(|queue| queue.as_bytes() == key) else {
                        return Err(self.stranger(&key));
                    };
                    let queue = queue.clone();
                    items.push(Held { queue, id, flags, attempts, age_ms, body });
                }
                Reply::End => return Ok(items),
                other => return Err(self.refused("to hand out an item", &other)),
            }
        }
    }

    fn stranger(&self, key: &[u8]) -> Error {
        let what = format!("something of {}, which nobody asked for", name_text(key));
        Error::Protocol { server: self.name().to_owned(), what }
    }

    /// Whether it was still ours.
    fn settled(&self, reply: &Reply, doing: &str, item: &Held) -> Result<bool> {
        match reply {
            Reply::Ok => Ok(true),
            Reply::NotHeld => Ok(false),
            other => {
                let doing = format!("to {doing} item {} of {}", item.id, name_text(&item.queue));
                Err(self.refused(&doing, other))
            }
        }
    }

    pub(crate) fn ack(&mut self, item: &Held) -> Result<bool> {
        let reply = self.ask(|out| {
            client::ack(out, item.queue.by_ref(), item.id);
            Ok(())
        })?;
        self.settled(&reply, "remove", item)
    }

    pub(crate) fn release(&mut self, item: &Held, delay_ms: Option<u64>) -> Result<bool> {
        let reply = self.ask(|out| client::release(out, item.queue.by_ref(), item.id, delay_ms))?;
        self.settled(&reply, "take back", item)
    }

    pub(crate) fn touch(&mut self, item: &Held, lease_ms: u32) -> Result<bool> {
        let reply = self.ask(|out| {
            client::touch(out, item.queue.by_ref(), item.id, lease_ms);
            Ok(())
        })?;
        self.settled(&reply, "extend the lease of", item)
    }

    pub(crate) fn bury(&mut self, item: &Held, reason: &[u8]) -> Result<bool> {
        let mut line = Vec::new();
        client::bury(&mut line, item.queue.by_ref(), item.id, reason.len())?;
        self.connection.send(&[&line, reason, BODY_END])?;
        let reply = self.connection.receive(AT_ONCE)?;
        self.settled(&reply, "bury", item)
    }

    /// Flags and body of the item that would be handed out next.
    pub(crate) fn peek(&mut self, queue: &Name) -> Result<Option<(u32, Bytes)>> {
        let options = GetOptions { peek: true, ..GetOptions::default() };
        let doing = format!("to show the head of {}", name_text(queue));
        match self.ask(|out| client::get(out, queue.by_ref(), &options))? {
            Reply::End => Ok(None),
            Reply::Value { key, .. } if key != queue.as_bytes() => Err(self.stranger(&key)),
            Reply::Value { flags, body, .. } => match self.connection.receive(AT_ONCE)? {
                Reply::End => Ok(Some((flags, body))),
                other => Err(self.refused(&doing, &other)),
            },
            other => Err(self.refused(&doing, &other)),
        }
    }

    /// Some items, and where to go on if there may be more.
    pub(crate) fn browse(
        &mut self,
        queue: &Name,
        state: ItemState,
        max: u32,
        after: Option<Cursor>,
        body_bytes: u32,
    ) -> Result<(Vec<Found>, Option<Cursor>)> {
        let options = BrowseOptions { after, body_bytes: Some(body_bytes) };
        let mut reply =
            self.ask(|out| client::browse(out, queue.by_ref(), state, max, &options))?;
        let mut items = Vec::new();
        loop {
            match reply {
                Reply::Found(found) if found.key == queue.as_bytes() => items.push(*found),
                Reply::Found(found) => return Err(self.stranger(&found.key)),
                Reply::End => return Ok((items, None)),
                Reply::EndWithCursor(cursor) => return Ok((items, Some(cursor))),
                other => {
                    return Err(self.refused(&format!("to show {}", name_text(queue)), &other));
                }
            }
            reply = self.connection.receive(AT_ONCE)?;
        }
    }

    /// How many dead letters came back; `None`: there is none with that id.
    pub(crate) fn kick(&mut self, queue: &Name, which: Kick) -> Result<Option<u64>> {
        match self.ask(|out| client::kick(out, queue.by_ref(), which))? {
            Reply::OkCount(count) => Ok(Some(count)),
            Reply::NotFound => Ok(None),
            other => {
                Err(self.refused(&format!("to kick dead letters of {}", name_text(queue)), &other))
            }
        }
    }

    /// How many items are gone.
    pub(crate) fn purge(&mut self, queue: &Name, what: Purge) -> Result<u64> {
        let reply = self.ask(|out| {
            client::purge(out, queue.by_ref(), what);
            Ok(())
        })?;
        match reply {
            Reply::OkCount(count) => Ok(count),
            other => Err(self.refused(&format!("to purge {}", name_text(queue)), &other)),
        }
    }

    pub(crate) fn pause(&mut self, queue: &Name) -> Result<()> {
        let reply = self.ask(|out| {
            client::pause(out, queue.by_ref());
            Ok(())
        })?;
        self.done(&reply, &Reply::Ok, &format!("to pause {}", name_text(queue)))
    }

    pub(crate) fn resume(&mut self, queue: &Name) -> Result<()> {
        let reply = self.ask(|out| {
            client::resume(out, queue.by_ref());
            Ok(())
        })?;
        self.done(&reply, &Reply::Ok, &format!("to resume {}", name_text(queue)))
    }

    pub(crate) fn delete(&mut self, queue: &Name) -> Result<()> {
        let reply = self.ask(|out| {
            client::delete(out, queue.by_ref());
            Ok(())
        })?;
        self.done(&reply, &Reply::Deleted, &format!("to delete {}", name_text(queue)))
    }

    fn done(&self, reply: &Reply, hoped_for: &Reply, doing: &str) -> Result<()> {
        if reply == hoped_for { Ok(()) } else { Err(self.refused(doing, reply)) }
    }

    /// The server's own figures: those of the queues follow them and are left out.
    pub(crate) fn totals(&mut self) -> Result<Figures> {
        let mut reply = self.ask(|out| {
            client::stats(out);
            Ok(())
        })?;
        let mut figures = Figures::new();
        loop {
            match reply {
                Reply::Stat { name, .. } if is_of_a_queue(&name) => {}
                Reply::Stat { name, value } => figures.push((name_text(&name), name_text(&value))),
                Reply::End => break,
                other => return Err(self.refused("to tell its figures", &other)),
            }
            reply = self.connection.receive(AT_ONCE)?;
        }
        Ok(figures)
    }

    /// The figures of these queues, or of all; no figures: there is no such queue.
    pub(crate) fn queues(&mut self, names: &[Name]) -> Result<Vec<(String, Figures)>> {
        let names: Vec<NameRef<'_>> = names.iter().map(Name::by_ref).collect();
        let mut reply = self.ask(|out| client::dump_stats(out, &names))?;
        let mut queues: Vec<(String, Figures)> = Vec::new();
        loop {
            match (reply, queues.last_mut()) {
                (Reply::QueueBegin(name), _) => queues.push((name_text(&name), Figures::new())),
                (Reply::Figure { name, value }, Some((_, figures))) => {
                    figures.push((name_text(&name), name_text(&value)));
                }
                (Reply::QueueEnd | Reply::Blank, _) => {}
                (Reply::End, _) => return Ok(queues),
                (other, _) => return Err(self.refused("to tell figures of queues", &other)),
            }
            reply = self.connection.receive(AT_ONCE)?;
        }
    }

    pub(crate) fn status(&mut self) -> Result<String> {
        let reply = self.ask(|out| client::status(out, None))?;
        match reply {
            Reply::Status(status) => Ok(name_text(&status)),
            other => Err(self.refused("to tell its status", &other)),
        }
    }

    pub(crate) fn set_status(&mut self, status: &str) -> Result<()> {
        let reply = self.ask(|out| client::status(out, Some(status.as_bytes())))?;
        self.done(&reply, &Reply::End, &format!("to become {status}"))
    }

    /// Whether puts are still taken: during a grace period the status says otherwise. Nobody has an item with the number 0, so that nothing is changed.
    pub(crate) fn takes_puts(&mut self) -> Result<bool> {
        let queue = Name::check(b"kqueuectl-drain").map_err(|error| {
            Error::Failed(format!("a queue cannot have the name that drain asks for: {error}"))
        })?;
        match self.ask(|out| client::kick(out, queue, Kick::Id(0)))? {
            Reply::NotFound => Ok(true),
            Reply::ServerError(_) => Ok(false),
            other => Err(self.refused("to tell whether it takes puts", &other)),
        }
    }

    pub(crate) fn version(&mut self) -> Result<String> {
        let reply = self.ask(|out| {
            client::version(out);
            Ok(())
        })?;
        match reply {
            Reply::Version(version) => Ok(name_text(&version)),
            other => Err(self.refused("to tell its version", &other)),
        }
    }

    /// What it can do beyond Kestrel's commands; nothing, if it does not know the question. Such a server closes then.
    pub(crate) fn capabilities(&mut self) -> Result<Capabilities> {
        let reply = self.ask(|out| {
            client::capabilities(out);
            Ok(())
        })?;
        match reply {
            Reply::Capabilities(capabilities) => Ok(capabilities),
            Reply::ClientError(_) | Reply::Error(_) => Ok(Capabilities::default()),
            other => Err(self.refused("to tell what it can do", &other)),
        }
    }
}

/// Whether a figure of `stats` is one of a queue: three of the server's begin like those.
fn is_of_a_queue(name: &[u8]) -> bool {
    let is_of_the_server = matches!(name, b"queue_creates" | b"queue_deletes" | b"queue_expires");
    name.starts_with(b"queue_") && !is_of_the_server
}
