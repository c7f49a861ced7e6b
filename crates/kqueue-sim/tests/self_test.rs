//! The simulator is worth something only if it repeats itself, if everything happens in it, and if it can fail.

use kqueue_sim::{Summary, replay, run, run_changed};

#[test]
fn a_seed_decides_everything() {
    for seed in 1..=10 {
        let (first, first_trace) = replay(seed);
        let (second, second_trace) = replay(seed);
        assert_eq!(first_trace, second_trace, "seed {seed}");
        assert_eq!(first.unwrap(), second.unwrap());
    }
    assert_ne!(replay(1).1, replay(2).1);
}

#[test]
fn everything_that_can_happen_happens() {
    let mut sum = Summary::default();
    for seed in 1..=40 {
        let one = run(seed).unwrap();
        sum.kills += one.kills;
        sum.power_cuts += one.power_cuts;
        sum.disk_failures += one.disk_failures;
        sum.disconnects += one.disconnects;
        sum.torn_tails += one.torn_tails;
        sum.retired_segments += one.retired_segments;
        sum.clean_restarts += one.clean_restarts;
        sum.tally.stored += one.tally.stored;
        sum.tally.refused += one.tally.refused;
        sum.tally.unknown += one.tally.unknown;
        sum.tally.redelivered += one.tally.redelivered;
    }
    let tally = sum.tally;
    let counts = [
        sum.kills,
        sum.power_cuts,
        sum.disk_failures,
        sum.disconnects,
        sum.torn_tails,
        sum.retired_segments,
        sum.clean_restarts,
        tally.stored,
        tally.refused,
        tally.unknown,
        tally.redelivered,
    ];
    assert!(counts.iter().all(|&count| count > 0), "{sum:?}");
}

/// A disk that answers syncs without doing them makes the broker break its promises, and the oracle must see it.
#[test]
fn a_disk_that_lies_is_found_out() {
    let found = (1..=30).filter(|&seed| {
        run_changed(seed, |scenario| {
            scenario.disk_lies = true;
            scenario.cut_every = 200;
        })
        .is_err()
    });
    assert!(found.count() > 10);
}
