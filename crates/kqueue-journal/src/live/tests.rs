//! References against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Add(u64, u32),
    Remove(u64),
    MoveThrough(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u64..40, 0u32..4).prop_map(|(seq, refs)| Step::Add(seq, refs)),
        (0u64..40).prop_map(Step::Remove),
        (0u64..40).prop_map(Step::MoveThrough),
    ]
}

/// As many bytes as tell the record from the others.
fn bytes_of(seq: u64) -> u64 {
    1000 + seq
}

proptest! {
    #[test]
    fn it_counts_as_a_map_does(steps in proptest::collection::vec(any_step(), 0..80)) {
        // Records below `split` have moved to `front`.
        let (mut front, mut back, mut split) = (Live::new(0), Live::new(0), 0);
        let mut model: BTreeMap<u64, u32> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Add(seq, refs) => {
                    let live = if seq < split { &mut front } else { &mut back };
                    live.add(seq, refs, bytes_of(seq));
                    *model.entry(seq).or_default() += refs;
                }
                Step::Remove(seq) => {
                    let live = if seq < split { &mut front } else { &mut back };
                    let has = model.get(&seq).is_some_and(|&refs| refs > 0);
                    prop_assert_eq!(live.remove(seq), has);
                    if has {
                        *model.get_mut(&seq).unwrap() -= 1;
                    }
                }
                Step::MoveThrough(seq) if seq >= split => {
                    back.move_through(seq, &mut front);
                    split = seq + 1;
                }
                Step::MoveThrough(_) => {}
            }
            for (live, is_front) in [(&front, true), (&back, false)] {
                let alive = || model.iter().filter(|&(&seq, &refs)| (seq < split) == is_front && refs > 0);
                prop_assert_eq!(live.refs(), alive().map(|(_, &refs)| u64::from(refs)).sum::<u64>());
                prop_assert_eq!(live.bytes(), alive().map(|(&seq, _)| bytes_of(seq)).sum::<u64>());
            }
        }
    }
}

#[test]
fn memory_follows_what_is_alive() {
    let mut live = Live::new(1);
    for seq in 1..=100_000 {
        live.add(seq, 1, 10);
    }
    for seq in 1..100_000 {
        live.remove(seq);
    }
    assert_eq!((live.refs(), live.bytes(), live.entries.len()), (1, 10, 1));
    assert!(live.entries.capacity() <= 4 * SPARE_ENTRIES_MAX);
    live.remove(100_000);
    assert!(live.entries.is_empty());
}
