//! Histories that are right, and each kind that is not.

use super::*;
use crate::disk::Cut;

const NEVER_ENDS: How = How::Held { until_ms: u64::MAX };

fn at(step: u64) -> Moment {
    Moment { step, mono_ms: step, wall_ms: 1_000_000 + step }
}

fn new_oracle() -> Oracle {
    let scenario = Scenario::random(&mut fastrand::Rng::with_seed(1));
    let scenario = Scenario { policy: SyncPolicy::Always, ..scenario };
    Oracle::new(scenario, Rules::first(&scenario))
}

/// Puts 0, 1, 2 … of connection 1, stored, each for these queues.
fn stored(puts: usize, queues: &[Queue]) -> Oracle {
    let mut oracle = new_oracle();
    for number in 0..puts {
        oracle.put_sent(at(number as u64), 1, None, queues, 7, Expiry::default(), body(number, 9));
        oracle.put_arrived(at(number as u64), number);
        oracle.put_stored(at(number as u64), number).unwrap();
    }
    oracle
}

fn take(step: u64, removes: u64) -> Take {
    Take { sent: at(step), queues: vec!["plain"], removes, ..Take::default() }
}

fn show(
    oracle: &mut Oracle,
    step: u64,
    number: usize,
    how: How,
    conn: ConnId,
) -> Result<usize, String> {
    let body = body(number, 9);
    let shown = Shown { queue: "plain", flags: 7, body: &body, how, conn, asked: at(step) };
    oracle.shown(at(step), &shown)
}

#[test]
fn a_correct_history_is_accepted() {
    let mut oracle = stored(2, &["plain"]);
    show(&mut oracle, 10, 0, NEVER_ENDS, 2).unwrap();
    oracle.release_sent(2, "plain", 0);
    show(&mut oracle, 11, 0, How::Taken, 3).unwrap();
    show(&mut oracle, 12, 1, NEVER_ENDS, 2).unwrap();
    oracle.acked(at(13), 2, "plain", 1);
    assert_eq!(oracle.finish(at(20)).unwrap().stored, 2);
}

#[test]
fn what_is_missing_is_lost() {
    let mut oracle = stored(2, &["plain"]);
    show(&mut oracle, 10, 0, How::Taken, 2).unwrap();
    assert!(oracle.finish(at(20)).unwrap_err().contains("LOST: items [1] of plain"));
    oracle.conn_gone(3, &[take(11, 1)]);
    oracle.finish(at(20)).unwrap();
}

#[test]
fn what_was_altered_or_never_sent_is_invented() {
    let mut oracle = stored(1, &["plain"]);
    let mut shown =
        Shown { queue: "plain", flags: 7, body: b"9:", how: How::Taken, conn: 2, asked: at(9) };
    assert!(oracle.shown(at(9), &shown).is_err());
    let other = body(0, 8);
    shown.body = &other;
    assert!(oracle.shown(at(9), &shown).is_err());
    shown.queue = "r";
    assert!(oracle.shown(at(9), &shown).is_err());
}

#[test]
fn two_may_not_hold_one_item() {
    let mut oracle = stored(1, &["plain"]);
    show(&mut oracle, 10, 0, How::Held { until_ms: 50 }, 2).unwrap();
    assert!(show(&mut oracle, 11, 0, How::Taken, 3).is_err());
    show(&mut oracle, 50, 0, How::Taken, 3).unwrap();
}

#[test]
fn what_was_confirmed_does_not_come_back_but_after_a_crash_that_followed_at_once() {
    let mut oracle = stored(1, &["plain"]);
    show(&mut oracle, 10, 0, How::Taken, 2).unwrap();
    assert!(show(&mut oracle, 11, 0, How::Taken, 2).is_err());
    oracle.cut(at(9000), Cut::Power, false);
    assert!(show(&mut oracle, 9001, 0, How::Taken, 2).is_err());
    let mut oracle = stored(1, &["plain"]);
    show(&mut oracle, 10, 0, How::Taken, 2).unwrap();
    oracle.cut(at(500), Cut::Power, false);
    show(&mut oracle, 501, 0, How::Taken, 2).unwrap();
}

#[test]
fn order_is_kept_among_items_that_nobody_can_have_held() {
    let mut oracle = stored(3, &["plain"]);
    show(&mut oracle, 10, 1, How::Taken, 2).unwrap();
    assert!(show(&mut oracle, 11, 0, How::Taken, 2).is_err());
    let mut oracle = stored(3, &["plain"]);
    oracle.conn_gone(5, &[take(9, 0)]);
    show(&mut oracle, 10, 1, How::Taken, 2).unwrap();
    show(&mut oracle, 11, 0, How::Taken, 2).unwrap();
}

#[test]
fn a_fanout_is_whole_or_absent() {
    let mut oracle = new_oracle();
    oracle.put_sent(at(1), 1, None, &["plain", "posts+a"], 7, Expiry::default(), body(0, 9));
    oracle.put_arrived(at(1), 0);
    oracle.cut(at(2), Cut::Power, false);
    oracle.finish(at(20)).unwrap();
    show(&mut oracle, 10, 0, How::Taken, 2).unwrap();
    assert!(oracle.finish(at(20)).is_err());
}

#[test]
fn what_was_flushed_or_refused_or_expired_stays_away() {
    let mut oracle = stored(1, &["plain"]);
    oracle.flush_answered(at(5), "plain");
    assert!(show(&mut oracle, 10, 0, How::Taken, 2).is_err());
    let mut oracle = stored(1, &["plain"]);
    oracle.put_refused(at(5), 0, Refusal::Other).unwrap();
    assert!(show(&mut oracle, 10, 0, How::Taken, 2).is_err());
    let mut oracle = stored(1, &["plain"]);
    oracle.puts[0].expiry.latest_ms = 1_000_005;
    assert!(show(&mut oracle, 10, 0, How::Taken, 2).is_err());
}
