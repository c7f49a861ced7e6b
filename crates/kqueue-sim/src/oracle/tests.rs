//! Histories that are right, and each kind that is not.

use super::*;
use crate::disk::Cut;
use crate::queues::{NOW, TIGHT, TURN, targets};

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
    show_in(oracle, "plain", step, number, how, conn)
}

fn show_in(
    oracle: &mut Oracle,
    queue: Queue,
    step: u64,
    number: usize,
    how: How,
    conn: ConnId,
) -> Result<usize, String> {
    let body = body(number, 9);
    let shown = Shown { queue, flags: 7, body: &body, how, conn, asked: at(step) };
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
fn what_was_held_and_is_not_done_comes_again() {
    let mut oracle = stored(1, &["plain"]);
    show(&mut oracle, 10, 0, NEVER_ENDS, 2).unwrap();
    oracle.conn_gone(2, &[]);
    assert!(oracle.finish(at(20)).unwrap_err().contains("LOST: items [0] of plain"));
    show(&mut oracle, 12, 0, NEVER_ENDS, 3).unwrap();
    oracle.ack_sent("plain", 0);
    oracle.finish(at(20)).unwrap();
}

#[test]
fn what_is_lent_outlives_its_connection_until_the_lease_ends() {
    let mut oracle = stored(1, &["plain"]);
    show(&mut oracle, 10, 0, How::Lent { until_ms: 50 }, 2).unwrap();
    oracle.conn_gone(2, &[]);
    assert!(show(&mut oracle, 49, 0, How::Taken, 3).is_err());
    show(&mut oracle, 50, 0, How::Taken, 3).unwrap();
}

#[test]
fn a_number_settles_one_delivery_once() {
    let mut oracle = stored(1, &["plain"]);
    show(&mut oracle, 10, 0, How::Lent { until_ms: 50 }, 2).unwrap();
    oracle.number_given(7, 2, "plain", 0, 50).unwrap();
    assert!(oracle.number_given(7, 2, "plain", 0, 50).is_err());
    let mut oracle = stored(1, &["plain"]);
    show(&mut oracle, 10, 0, How::Lent { until_ms: 50 }, 2).unwrap();
    oracle.number_given(7, 2, "plain", 0, 50).unwrap();
    oracle.settle_sent(&[7], false);
    assert!(oracle.settled(at(11), at(12), &[7], false, 0).is_err(), "it is held");
    assert!(oracle.settled(at(11), at(12), &[7], false, 2).is_err());
    oracle.settled(at(11), at(12), &[7], false, 1).unwrap();
    oracle.settle_sent(&[7], false);
    assert!(oracle.settled(at(13), at(14), &[7], false, 1).is_err());
    let mut oracle = stored(1, &["plain"]);
    show(&mut oracle, 10, 0, How::Lent { until_ms: 50 }, 2).unwrap();
    oracle.number_given(7, 2, "plain", 0, 50).unwrap();
    show(&mut oracle, 60, 0, NEVER_ENDS, 3).unwrap();
    oracle.settle_sent(&[7], false);
    assert!(oracle.settled(at(61), at(62), &[7], false, 1).is_err(), "somebody else has it");
    oracle.settled(at(61), at(62), &[7], false, 0).unwrap();
}

/// A put to an alias that is answered in step 2.
fn put_to(to: Queue, rules: Rules) -> Oracle {
    let mut oracle = new_oracle();
    oracle.rules = History::new(rules);
    oracle.put_sent(at(1), 1, Some(to), targets(to), 7, Expiry::default(), body(0, 9));
    oracle.put_arrived(at(1), 0);
    oracle
}

#[test]
fn an_alias_gives_to_everybody_who_does_not_refuse() {
    let first = Rules::first(&new_oracle().scenario);
    let mut oracle = put_to(TIGHT, first);
    oracle.put_refused(at(2), 0, Refusal::Limit).unwrap();
    // Of these only one can have refused it; the others have it.
    assert!(oracle.finish(at(20)).unwrap_err().contains("LOST: items [0] of plain"));
    let shown = |queue| {
        let bytes: &'static [u8] = Box::leak(body(0, 9).into_boxed_slice());
        Shown { queue, flags: 7, body: bytes, how: How::Taken, conn: 3, asked: at(5) }
    };
    assert!(oracle.shown(at(6), &shown("small")).is_err());
    for queue in ["plain", TURN, crate::queues::TURN_SUB] {
        oracle.shown(at(6), &shown(queue)).unwrap();
    }
    oracle.finish(at(20)).unwrap();
    let mut oracle = put_to(NOW, Rules { hides_now: true, ..first });
    assert!(oracle.shown(at(6), &shown(NOW)).is_err(), "it stands for others");
    oracle.shown(at(6), &shown("plain")).unwrap();
    let mut oracle = put_to(NOW, first);
    oracle.rules.change(at(3), Rules { hides_now: true, ..first });
    assert!(oracle.shown(at(6), &shown(NOW)).is_err(), "it is hidden");
    oracle.rules.change(at(6), first);
    oracle.shown(at(6), &shown(NOW)).unwrap();
    let mut oracle = put_to(TURN, first);
    assert!(oracle.put_refused(at(2), 0, Refusal::Limit).is_err(), "nothing is full");
}

#[test]
fn settings_and_status_count_as_they_were_in_the_meantime() {
    let first = Rules::first(&new_oracle().scenario);
    let young = Rules { max_age_ms: Some(10), ..first };
    let shown = |oracle: &mut Oracle, step| {
        let body = body(0, 9);
        let (how, asked) = (How::Taken, at(step));
        let shown = Shown { queue: TURN, flags: 7, body: &body, how, conn: 3, asked };
        oracle.shown(at(step + 5), &shown)
    };
    let mut oracle = put_to(TURN, young);
    oracle.put_stored(at(2), 0).unwrap();
    assert!(shown(&mut oracle, 30).is_err(), "it is too old");
    let mut oracle = put_to(TURN, young);
    oracle.put_stored(at(2), 0).unwrap();
    oracle.rules.change(at(32), first);
    shown(&mut oracle, 30).unwrap();
    let mut oracle = put_to(TURN, first);
    oracle.enforced.change(at(1), Status::ReadOnly);
    oracle.put_stored(at(2), 0).unwrap();
    oracle.enforced.change(at(3), Status::Quiescent);
    assert!(oracle.put_stored(at(9), 0).is_ok(), "it may have been run before");
    oracle.puts[0].arrived = Some(4);
    assert!(oracle.put_stored(at(9), 0).is_err());
    assert!(shown(&mut oracle, 30).is_err(), "nothing is given");
    assert!(oracle.check_blocked(at(4), at(9), |status| status.gives()).is_ok());
    oracle.enforced.change(at(40), Status::Up);
    assert!(oracle.check_blocked(at(41), at(49), |status| status.gives()).is_err());
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

#[test]
fn who_was_dead_until_a_power_cut_may_come_after_those_that_it_preceded() {
    for has_power_cut in [false, true] {
        let mut oracle = stored(2, &["work"]);
        let unseen = Take { sent: at(5), queues: vec!["work"], ..Take::default() };
        oracle.conn_gone(3, &[unseen]);
        oracle.conn_noticed(at(8), 3);
        show_in(&mut oracle, "work", 12, 1, How::Taken, 2).unwrap();
        oracle.cut(at(9000), if has_power_cut { Cut::Power } else { Cut::Kill }, false);
        let told = show_in(&mut oracle, "work", 9001, 0, How::Taken, 2);
        assert_eq!(told.is_ok(), has_power_cut, "{told:?}");
    }
}

#[test]
fn who_moved_twice_may_be_at_two_places_after_a_power_cut() {
    for has_power_cut in [false, true] {
        let mut oracle = stored(1, &["late"]);
        oracle.puts[0].expiry = Expiry { earliest_ms: 5, latest_ms: 1_000_009 };
        oracle.cut(at(9000), if has_power_cut { Cut::Power } else { Cut::Kill }, false);
        for step in [9001, 9002] {
            show_in(&mut oracle, "expired", step, 0, NEVER_ENDS, 2).unwrap();
            oracle.release_sent(2, "expired", 0);
        }
        show_in(&mut oracle, "dead", 9003, 0, NEVER_ENDS, 2).unwrap();
        let told = show_in(&mut oracle, "expired", 9004, 0, How::Taken, 2);
        assert_eq!(told.is_ok(), has_power_cut, "{told:?}");
    }
}
