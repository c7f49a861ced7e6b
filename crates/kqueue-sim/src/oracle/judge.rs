//! Whether one item may be shown to one client now.
//!
//! Must not: know other items.

use super::{Check, Copy, Hold, How, Moment, Put, Shown, State};

/// Whether this item may be shown to this client now.
pub(super) fn judge(
    put: &Put,
    copy: &Copy,
    place: usize,
    shown: &Shown<'_>,
    at: Moment,
    is_damage_told: bool,
) -> Check {
    if put.body != shown.body || put.flags != shown.flags {
        return Err("body or flags are not those that were put".into());
    }
    if put.arrived.is_none() {
        return Err("delivered although it was never sent whole".into());
    }
    if put.state == State::Refused {
        return Err("delivered although it had been refused".into());
    }
    let expires_ms = if place == 0 { put.expiry.latest_ms } else { 0 };
    if expires_ms != 0 && expires_ms < shown.asked.wall_ms {
        return Err("delivered after it had expired".into());
    }
    if shown.is_stale(at) || is_damage_told {
        return Ok(());
    }
    if copy.is_dropped && place == 0 {
        return Err("came back although it was in memory only".into());
    }
    if copy.may_be_twice_here {
        // What is said of one of them is not true of the other one.
        return Ok(());
    }
    if copy.is_flushed {
        return Err("delivered after it had been flushed".into());
    }
    let is_gone = copy
        .gone_since
        .is_some_and(|since| shown.how != How::Peeked || since < shown.asked.mono_ms);
    if is_gone && !copy.may_be_twice {
        return Err("came back after it had been confirmed".into());
    }
    // At two places, it may be in two hands.
    let is_other_one = |hold: &Hold| copy.may_be_twice && hold.queue != shown.queue;
    let Some(hold) = copy.holder.filter(|hold| !is_other_one(hold)) else { return Ok(()) };
    let is_past = at.mono_ms >= hold.until_ms;
    let may_be_earlier = shown.how == How::Peeked && shown.asked.step <= hold.received.step;
    match is_past || may_be_earlier {
        true => Ok(()),
        false => Err(format!(
            "given to connection {} while connection {} holds it",
            shown.conn, hold.conn
        )),
    }
}
