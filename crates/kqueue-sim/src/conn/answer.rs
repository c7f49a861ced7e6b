//! What a client makes of the answers.
//!
//! Must not: forgive an answer to another question.

use crate::conn::{Asked, Conn, Held, Link, OPEN_MAX, Want};
use crate::oracle::{Command, How, Moment, Oracle, Refusal, Shown};
use crate::queues::{BIN, NOW, Queue, attempts_max, named};
use crate::reply::{self, Part};

impl Conn {
    /// The client reads.
    ///
    /// # Errors
    /// A broken promise.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<(), String> {
        if self.link == Link::Abandoned {
            return Ok(());
        }
        self.received.extend_from_slice(bytes);
        while let Some(part) = reply::next(&mut self.received)? {
            let Some(asked) = self.asked.front().cloned() else {
                return Err(format!("connection {}: {part} answers nothing", self.id));
            };
            let answered = match is_blocked(&part) {
                true => self.answer_blocked(&asked, at, oracle).map(|()| true),
                false => self.answer(&asked, &part, at, oracle),
            };
            let is_whole = answered.map_err(|what| {
                format!("connection {}: {:?} was answered {part}: {what}", self.id, asked.want)
            })?;
            if is_whole {
                self.asked.pop_front();
            }
        }
        Ok(())
    }

    /// Takes in a part of an answer; true if it was the last one.
    fn answer(
        &mut self,
        asked: &Asked,
        part: &Part,
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<bool, String> {
        match (&asked.want, part) {
            (Want::Put(put), Part::Line(line)) => self.answer_put(*put, line, at, oracle),
            (Want::Line { begin }, Part::Line(line)) if line.starts_with(begin) => Ok(true),
            (Want::Flush(word), Part::Line(line)) if line == word => {
                oracle.flush_answered(asked.at, BIN);
                Ok(true)
            }
            // The journal failed while the answer waited for it.
            // What was put meanwhile may be gone, too, if the outcome is unknown.
            (Want::Flush(_), Part::Line(line)) if line.starts_with("SERVER_ERROR") => {
                oracle.flush_sent(BIN);
                Ok(true)
            }
            (Want::Close { queue, put }, Part::Line(line)) if line == "END" => {
                oracle.acked(at, self.id, queue, *put);
                self.held.retain(|held| held.put != *put);
                Ok(true)
            }
            (Want::Confirm { queue, puts }, Part::Line(line)) => {
                self.answer_confirm(queue, puts, line, at, oracle).map(|()| true)
            }
            (Want::Monitor { .. }, part) => self.answer_monitor(asked, part, at, oracle),
            (Want::FlushExpired(queue), Part::Line(line)) => {
                answer_flush_expired(*queue, line, at, oracle).map(|()| true)
            }
            (Want::Status, Part::Line(line)) => {
                let mut told = oracle.told.between(asked.at.step, at.step);
                match told.any(|status| status.name() == line) {
                    true => Ok(true),
                    false => Err("it never was that".into()),
                }
            }
            (Want::Grant(word), Part::Line(line)) if line == word => Ok(true),
            (Want::Grant(_), Part::Line(line))
                if ["SERVER_ERROR not done", "SERVER_ERROR the journal failed"]
                    .iter()
                    .any(|refused| line.starts_with(refused)) =>
            {
                Ok(true)
            }
            (Want::PutAll(_) | Want::Fetch { .. } | Want::Settle { .. } | Want::Info(_), part) => {
                self.answer_worker(asked, part, at, oracle)
            }
            (Want::Browse { .. } | Want::Kick(_) | Want::Purge { .. }, Part::Line(line))
                if line.starts_with("SERVER_ERROR") && line.contains("cannot be read") =>
            {
                oracle.is_damage_told = true;
                for command in [Command::Kick, Command::Purge] {
                    oracle.command_answered(at, self.id, command);
                }
                Ok(true)
            }
            (
                Want::Touch { .. }
                | Want::ReleaseLater { .. }
                | Want::Bury { .. }
                | Want::Browse { .. }
                | Want::Kick(_)
                | Want::Purge { .. }
                | Want::Pause(_)
                | Want::Resume,
                part,
            ) => self.answer_extended(asked, part, at, oracle),
            (Want::Abort, Part::Line(line)) if line == "END" => Ok(true),
            (Want::Ack { queue, put }, Part::Line(line)) => match line.as_str() {
                "OK" => {
                    oracle.acked(at, self.id, queue, *put);
                    Ok(true)
                }
                "NOT_HELD" => oracle.not_held(at, self.id, queue, *put).map(|()| true),
                _ => Err("expected OK or NOT_HELD".into()),
            },
            (Want::Release { queue, put }, Part::Line(line)) => match line.as_str() {
                "OK" => Ok(true),
                "NOT_HELD" => oracle.not_held(at, self.id, queue, *put).map(|()| true),
                _ => Err("expected OK or NOT_HELD".into()),
            },
            (Want::Get { queue, how, closes }, part) => {
                self.answer_get(asked, queue, *how, *closes, part, at, oracle)
            }
            (Want::Reserve { until_ms, lease_ms, .. }, part) => match part {
                Part::Item { queue, id, flags, attempts, body } => {
                    if *attempts == 0 {
                        return Err("handed out for the 0th time".into());
                    }
                    if attempts_max(queue).is_some_and(|max| *attempts > max) {
                        return Err("handed out more often than max_attempts".into());
                    }
                    let how = How::Held { until_ms: *until_ms };
                    let shown =
                        Shown { queue, flags: *flags, body, how, conn: self.id, asked: asked.at };
                    let put = oracle.shown(at, &shown)?;
                    let queue = named(queue).ok_or("unknown queue")?;
                    oracle
                        .item_told(asked.at, at, queue, put, *id, *attempts)
                        .map_err(|what| format!("item {put} of {queue}: {what}"))?;
                    self.held.push(Held { queue, put, id: *id, attempts: *attempts });
                    Ok(false)
                }
                Part::Line(line) if line == "END" => {
                    if *lease_ms > 0 {
                        oracle.lease_answered(at, self.id, *lease_ms);
                    }
                    Ok(true)
                }
                _ => Err("expected ITEM or END".into()),
            },
            _ => Err("not an answer to this".into()),
        }
    }

    fn answer_put(
        &mut self,
        put: usize,
        line: &str,
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<bool, String> {
        if line == "STORED" {
            oracle.put_stored(at, put)?;
        } else if let Some(id) = line.strip_prefix("STORED ") {
            let id = id.parse().map_err(|_| "an id that is no number")?;
            oracle.put_stored_as(at, put, id)?;
        } else if line.starts_with("SERVER_ERROR") && line.contains("unknown") {
            // It may be on the disk or not.
        } else if line.starts_with("NOT_STORED") || line.starts_with("SERVER_ERROR") {
            let why = match line.starts_with("NOT_STORED") {
                true => Refusal::Limit,
                false => Refusal::Other,
            };
            oracle.put_refused(at, put, why)?;
        } else {
            return Err("not an answer to a put".into());
        }
        Ok(true)
    }

    #[expect(clippy::too_many_arguments, reason = "private, and each of them is needed")]
    fn answer_get(
        &mut self,
        asked: &Asked,
        queue: Queue,
        how: How,
        closes: Option<usize>,
        part: &Part,
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<bool, String> {
        // Either answer says that the open read before it was confirmed.
        if let Some(put) = closes.filter(|_| !asked.has_item) {
            oracle.acked(at, self.id, queue, put);
            self.held.retain(|held| held.put != put);
        }
        match part {
            Part::Value { queue: named, flags, body } if !asked.has_item => {
                let shown = Shown {
                    queue: named,
                    flags: *flags,
                    body,
                    how,
                    conn: self.id,
                    asked: asked.at,
                };
                let put = oracle.shown(at, &shown)?;
                if named != queue {
                    return Err("an item of another queue".into());
                }
                if matches!(how, How::Held { .. }) {
                    self.held.push(Held { queue, put, id: 0, attempts: 0 });
                }
                if let Some(front) = self.asked.front_mut() {
                    front.has_item = true;
                }
                Ok(false)
            }
            Part::Line(line) if line == "END" => Ok(true),
            _ => Err("expected VALUE or END".into()),
        }
    }

    /// The server's status does not allow what was asked.
    fn answer_blocked(
        &mut self,
        asked: &Asked,
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<(), String> {
        match &asked.want {
            Want::Put(put) => oracle.put_refused(at, *put, Refusal::Status)?,
            Want::PutAll(puts) => {
                for put in puts {
                    oracle.put_refused(at, *put, Refusal::Status)?;
                }
            }
            Want::Flush(_)
            | Want::FlushExpired(_)
            | Want::Line { begin: "NOT_STORED" }
            | Want::Grant(_) => {
                oracle.check_blocked(asked.at, at, |status| status.takes())?;
            }
            Want::Get { queue, closes, .. } => {
                // What is open can be confirmed in any status.
                if let Some(put) = closes {
                    oracle.acked(at, self.id, queue, *put);
                    self.held.retain(|held| held.put != *put);
                }
                oracle.check_blocked(asked.at, at, |status| status.gives())?;
            }
            Want::Kick(_) | Want::Purge { .. } => {
                oracle.check_blocked(asked.at, at, |status| status.takes())?;
                for command in [Command::Kick, Command::Purge] {
                    oracle.command_answered(at, self.id, command);
                }
            }
            Want::Browse { .. }
            | Want::Reserve { .. }
            | Want::Monitor { .. }
            | Want::Fetch { .. }
            | Want::Info(_) => {
                if asked.has_item {
                    return Err("it has begun already".into());
                }
                oracle.check_blocked(asked.at, at, |status| status.gives())?;
            }
            _ => return Err("the status has nothing to do with this".into()),
        }
        if let Want::Reserve { lease_ms, .. } = asked.want {
            oracle.lease_answered(at, self.id, lease_ms);
        }
        if let Want::Fetch { auto_abort_ms, .. } = asked.want {
            oracle.lease_answered(at, self.id, auto_abort_ms);
        }
        self.expects_close |= asked.ends_if_blocked;
        Ok(())
    }

    /// All of them are confirmed, or none because they were too many.
    fn answer_confirm(
        &mut self,
        queue: Queue,
        puts: &[usize],
        line: &str,
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<(), String> {
        match line {
            "END" if puts.is_empty() => Err("more than are open".into()),
            "END" => {
                for put in puts {
                    oracle.acked(at, self.id, queue, *put);
                }
                self.held.retain(|held| !puts.contains(&held.put));
                Ok(())
            }
            line if line.starts_with("ERROR") && puts.is_empty() => Ok(()),
            _ => Err("expected END or ERROR".into()),
        }
    }

    fn answer_monitor(
        &mut self,
        asked: &Asked,
        part: &Part,
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<bool, String> {
        let Want::Monitor { queue, until_ms, left } = asked.want else {
            return Err("not a monitor".into());
        };
        match part {
            Part::Value { queue: named, flags, body } if !asked.has_item && left > 0 => {
                let how = How::Held { until_ms: u64::MAX };
                let (conn, asked) = (self.id, asked.at);
                let shown = Shown { queue: named, flags: *flags, body, how, conn, asked };
                let put = oracle.shown(at, &shown)?;
                if named != queue {
                    return Err("an item of another queue".into());
                }
                self.held.push(Held { queue, put, id: 0, attempts: 0 });
                if let Some(front) = self.asked.front_mut() {
                    front.has_item = true;
                    front.want = Want::Monitor { queue, until_ms, left: left - 1 };
                }
                Ok(false)
            }
            Part::Line(line) if line == "END" && asked.has_item => {
                if let Some(front) = self.asked.front_mut() {
                    front.has_item = false;
                }
                Ok(false)
            }
            Part::Line(line) if line == "END" => {
                let may_end = left == 0
                    || at.mono_ms >= until_ms
                    || self.held.len() >= OPEN_MAX as usize
                    || self.link != Link::Open
                    || self.session.is_closing()
                    || oracle.may_be_blocked(asked.at.step, at, |status| status.gives())
                    || queue == NOW && oracle.may_be_hidden(asked.at, at);
                match may_end {
                    true => Ok(true),
                    false => Err("it ended before its time".into()),
                }
            }
            _ => Err("expected VALUE or END".into()),
        }
    }
}

fn is_blocked(part: &Part) -> bool {
    matches!(part, Part::Line(line) if line.starts_with("SERVER_ERROR the server is "))
}

fn answer_flush_expired(
    queue: Option<Queue>,
    line: &str,
    at: Moment,
    oracle: &Oracle,
) -> Result<(), String> {
    let count: u64 = line.parse().map_err(|_| "expected a number")?;
    let max = oracle.may_have_expired(queue, at);
    match count <= max {
        true => Ok(()),
        false => Err(format!("only {max} can have expired")),
    }
}
