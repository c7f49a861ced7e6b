//! `reserve --exec`: a program for each item, and what becomes of the item then.
//!
//! The item is held while the program runs: its lease is renewed long before it ends, so that a machine that froze gives it back and one that works does not.

use std::io::{self, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use kqueue_proto::DELAY_MS_MAX;
use serde_json::Value;

use crate::cli::Reserve;
use crate::error::{Error, Result};
use crate::format::{count, name_text};
use crate::output::{Output, held_object};
use crate::server::{Held, Server};
use crate::take::{nothing, wait_ms, went_away};

/// Without `--lease` the item is held for so long at a time.
const LEASE: Duration = Duration::from_secs(60);
/// How often that begins anew; to the server it is a sign of life, too.
const RENEWAL: Duration = Duration::from_secs(5);

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Removed,
    Returned,
    Buried,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Returned => "returned",
            Self::Buried => "buried",
        }
    }
}

pub(crate) fn run_for_each(server: &mut Server, reserve: &Reserve, out: &mut Output) -> Result<()> {
    let wait = wait_ms(reserve.wait)?;
    let lease = wait_ms(Some(reserve.lease.unwrap_or(LEASE)))?;
    let retry_after = reserve.retry_after.map(delay_ms).transpose()?;
    let (mut done, mut failed) = (0_u64, 0_u64);
    for _ in 0..reserve.max {
        let items = server.reserve(&reserve.queues, 1, wait, lease)?;
        let Some(item) = items.first() else { break };
        done += 1;
        let status = match start(reserve, item) {
            Ok(child) => {
                let renewal = reserve.lease.is_none().then_some(RENEWAL);
                wait_for(child, server, item, renewal)?
            }
            Err(error) => {
                server.release(item, Some(0))?;
                let program = reserve.exec[0].display();
                return Err(Error::Failed(format!(
                    "cannot run {program}: {error}; item {} is back in {}",
                    item.id,
                    name_text(&item.queue)
                )));
            }
        };
        let outcome = settle(server, item, &status, reserve.bury, retry_after)?;
        if outcome != Outcome::Removed {
            failed += 1;
            eprintln!(
                "kqueuectl: item {} of {}: the program ended with {status}, {}",
                item.id,
                name_text(&item.queue),
                outcome.word()
            );
        }
        tell(item, &status, outcome, out)?;
    }
    match (done, failed) {
        (0, _) => Err(nothing(&reserve.queues)),
        (_, 0) => Ok(()),
        _ => Err(Error::Failed(format!(
            "the program failed for {} of {}",
            failed,
            count(done, "item", "items")
        ))),
    }
}

/// It is looked at before an item is taken: the server would refuse it only when the program has ended.
fn delay_ms(delay: Duration) -> Result<u64> {
    let ms = u64::try_from(delay.as_millis()).ok().filter(|&ms| ms <= DELAY_MS_MAX);
    ms.ok_or_else(|| Error::Usage("--retry-after is at most 10 years".to_owned()))
}

/// Starts the program and gives it the body, from a thread: it may write before it reads.
fn start(reserve: &Reserve, item: &Held) -> io::Result<Child> {
    let mut child = Command::new(&reserve.exec[0])
        .args(&reserve.exec[1..])
        .env("KQUEUE_QUEUE", name_text(&item.queue))
        .env("KQUEUE_ID", item.id.to_string())
        .env("KQUEUE_ATTEMPTS", item.attempts.to_string())
        .env("KQUEUE_FLAGS", item.flags.to_string())
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let body = item.body.clone();
        // A program that does not read all of it is free to.
        thread::spawn(move || stdin.write_all(&body));
    }
    Ok(child)
}

/// Waits for the program's end; meanwhile the lease is renewed so often, as long as the item is ours.
fn wait_for(
    mut child: Child,
    server: &mut Server,
    item: &Held,
    mut renewal: Option<Duration>,
) -> Result<ExitStatus> {
    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(child.wait()));
    let lease = wait_ms(Some(LEASE))?;
    loop {
        let result = match renewal {
            Some(renewal) => end.recv_timeout(renewal),
            None => end.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match result {
            Ok(status) => {
                return status
                    .map_err(|error| Error::Failed(format!("cannot wait for it: {error}")));
            }
            Err(RecvTimeoutError::Timeout) => {
                // What is lost is told when the program has ended.
                if !server.touch(item, lease)? {
                    renewal = None;
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::Failed("cannot wait for the program".to_owned()));
            }
        }
    }
}

fn settle(
    server: &mut Server,
    item: &Held,
    status: &ExitStatus,
    bury: bool,
    retry_after: Option<u64>,
) -> Result<Outcome> {
    let (is_settled, outcome) = if status.success() {
        (server.ack(item)?, Outcome::Removed)
    } else if bury {
        let reason = format!("the program ended with {status}");
        (server.bury(item, reason.as_bytes())?, Outcome::Buried)
    } else {
        (server.release(item, retry_after)?, Outcome::Returned)
    };
    match is_settled {
        true => Ok(outcome),
        false => Err(went_away(item, &format!("the program ended with {status}"))),
    }
}

/// The program's own output is not ours to mix with; for scripts there is an object per item.
fn tell(item: &Held, status: &ExitStatus, outcome: Outcome, out: &mut Output) -> Result<()> {
    if !out.is_json() {
        return Ok(());
    }
    let mut object = held_object(item);
    object.insert("outcome".to_owned(), outcome.word().into());
    // A signal has no exit code.
    object.insert("exit_code".to_owned(), status.code().into());
    out.object(&Value::Object(object))?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use bytes::Bytes;
    use kqueue_proto::Name;

    use super::*;
    use crate::address::Address;

    /// The program ends when the peer has been asked for the lease as often as it should be.
    #[test]
    fn the_lease_is_renewed_until_the_item_is_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = Address::Tcp(listener.local_addr().expect("it has one").to_string());
        let mut child =
            Command::new("cat").stdin(Stdio::piped()).spawn().expect("there is always a cat");
        let stdin = child.stdin.take().expect("piped");
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("it comes");
            for answer in ["OK\r\n", "OK\r\n", "NOT_HELD\r\n"] {
                let mut request = [0; b"touch q 5 60000\r\n".len()];
                stream.read_exact(&mut request).expect("it is asked");
                assert_eq!(&request, b"touch q 5 60000\r\n");
                stream.write_all(answer.as_bytes()).expect("it reads");
            }
            drop(stdin);
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).expect("it ends");
            assert_eq!(rest, b"", "what is lost is not renewed");
        });
        let mut server = Server::connect(&address, Duration::from_secs(60)).expect("it listens");
        let queue = Name::check(b"q").expect("a name").to_name();
        let item = Held { queue, id: 5, flags: 0, attempts: 1, age_ms: 0, body: Bytes::new() };
        let renewal = Some(Duration::from_millis(1));
        let status = wait_for(child, &mut server, &item, renewal).expect("it ends");
        assert!(status.success());
        drop(server);
        peer.join().expect("all was as it should be");
    }
}
