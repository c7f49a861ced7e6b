//! What recovery makes of files in any state. The disk of the tests is in `test_disk.rs`.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::test_disk::{
    BLOCK, Kept, Small, TestDisk, append, boot, checkpoint, config, headers_of, lost, recover,
    reopen, small_log,
};
use crate::{HEADER_BYTES, MARKER_BYTES, VERSION, Writer, parse_header};

const SEGMENT: u64 = 1;

fn flat(batches: &[Vec<Kept>]) -> Vec<Kept> {
    batches.iter().flatten().cloned().collect()
}

fn one(file: Vec<u8>) -> BTreeMap<u64, Vec<u8>> {
    BTreeMap::from([(SEGMENT, file)])
}

#[test]
fn everything_comes_back_as_it_was_appended() {
    let Small { disk, batches, .. } = small_log(&[3, 1, 5], true);
    let (kept, report) = recover(&disk.stable);
    assert_eq!(kept, flat(&batches));
    assert_eq!(report.gaps, []);
    // Nine records and three markers.
    assert_eq!(report.next_seq, Seq(13));
    assert_eq!(report.records, 9);
    // The last marker was built when the second batch was synced.
    assert_eq!(report.synced_through, Seq(6));
}

#[test]
fn an_empty_log_begins_with_one() {
    let report = Recovery::new().finish();
    assert_eq!((report.next_seq, report.synced_through, report.gaps), (Seq(1), Seq(0), Vec::new()));
}

/// F5: whatever single byte of the log is damaged, only the record that it belongs to may be lost, and something is reported.
#[test]
fn a_flipped_bit_anywhere_costs_at_most_one_record() {
    let Small { disk, batches, ends } = small_log(&[3, 1, 4], true);
    let all = flat(&batches);
    let file = &disk.stable[&SEGMENT];
    for at in 0..*ends.last().unwrap() {
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= mask;
            let (kept, report) = recover(&one(damaged));
            assert!(!report.gaps.is_empty(), "byte {at} mask {mask:#x}: nothing reported");
            let missing: Vec<_> = all.iter().filter(|record| !kept.contains(record)).collect();
            assert!(missing.len() <= 1, "byte {at} mask {mask:#x}: lost {missing:?}");
            assert!(kept.iter().all(|record| all.contains(record)), "byte {at}: invented");
            assert!(kept.is_sorted(), "byte {at}: reordered");
            assert_eq!(
                lost(&report.gaps),
                missing.len() as u64,
                "byte {at} mask {mask:#x}: {:?}",
                report.gaps
            );
            assert_eq!(report.next_seq, Seq(12), "byte {at} mask {mask:#x}");
            assert_eq!(report.torn_tail_bytes, 0, "byte {at}");
        }
    }
}

#[test]
fn damage_names_the_record_and_what_is_known_of_it() {
    let Small { disk, batches, .. } = small_log(&[3, 1, 4], true);
    let file = &disk.stable[&SEGMENT];
    let second = &batches[0][1];
    let body_at = file.windows(second.body.len()).position(|window| window == second.body).unwrap();
    let mut damaged = file.clone();
    damaged[body_at + 5] ^= 4;
    let (kept, report) = recover(&one(damaged));
    assert_eq!(kept.len(), 7);
    let [gap] = &report.gaps[..] else { panic!("{:?}", report.gaps) };
    let verdict =
        Verdict::DamagedBody { seq: Seq(2), kind: second.kind, meta: second.meta.clone() };
    assert_eq!(gap.verdict, verdict);
    assert!(gap.was_synced);
    assert_eq!(gap.offset + gap.bytes, (body_at + second.body.len()) as u64);
}

#[test]
fn damage_is_told_from_loss_by_what_later_markers_know() {
    let Small { disk, ends, .. } = small_log(&[1, 1, 1], true);
    let file = &disk.stable[&SEGMENT];
    // The head of the second batch's record: the third batch's marker knows that it was synced.
    let mut damaged = file.clone();
    damaged[ends[0] + 9] ^= 1;
    let (_, report) = recover(&one(damaged));
    assert_eq!(report.gaps[0].verdict, Verdict::DamagedSynced);
    assert_eq!((report.gaps[0].first_seq, report.gaps[0].missing), (Seq(3), 1));
    // The head of the third batch's: nothing is known.
    let mut damaged = file.clone();
    damaged[ends[1] + 9] ^= 1;
    let (_, report) = recover(&one(damaged));
    assert_eq!(report.gaps[0].verdict, Verdict::LostUnsynced);
    assert!(!report.gaps[0].was_synced);
}

/// F4: a file cut anywhere gives exactly the batches that are whole.
#[test]
fn a_cut_file_gives_the_batches_that_are_whole() {
    let Small { disk, batches, ends } = small_log(&[3, 1, 4], true);
    let file = &disk.stable[&SEGMENT];
    for len in HEADER_BYTES..*ends.last().unwrap() {
        let (kept, report) = recover(&one(file[..len].to_vec()));
        let whole = ends.iter().filter(|&&end| end <= len).count();
        assert_eq!(kept, flat(&batches[..whole]), "cut at {len}");
        let begin = if whole == 0 { HEADER_BYTES } else { ends[whole - 1] };
        assert_eq!(report.torn_tail_bytes > 0, len > begin, "cut at {len}: {:?}", report.gaps);
        assert!(report.gaps.iter().any(|gap| gap.verdict == Verdict::ShortFile));
        assert_eq!(lost(&report.gaps), 0, "cut at {len}");
    }
}

#[test]
fn a_zeroed_suffix_gives_the_batches_that_are_whole() {
    let Small { disk, batches, ends } = small_log(&[9, 7, 11], true);
    let file = &disk.stable[&SEGMENT];
    let end = *ends.last().unwrap();
    for from in (HEADER_BYTES..file.len()).step_by(BLOCK) {
        let mut damaged = file.clone();
        damaged[from..].fill(0);
        let (kept, report) = recover(&one(damaged));
        let whole = ends.iter().filter(|&&end| end <= from).count();
        assert_eq!(kept, flat(&batches[..whole]), "zeros from {from}");
        let begin = if whole == 0 { HEADER_BYTES } else { ends[whole - 1] };
        // A torn head whose sequence number is still there is recognised; less is nothing.
        let is_torn = from >= begin + 16 && from < end;
        assert_eq!(report.torn_tail_bytes > 0, is_torn, "zeros from {from}");
        assert_eq!(report.gaps.len(), usize::from(is_torn), "zeros from {from}");
    }
}

/// F3: of the blocks of a batch that was not synced any subset may survive a power cut; earlier batches are there, nothing is half there.
#[test]
fn any_subset_of_the_last_batch_may_survive() {
    let Small { disk, batches, ends } = small_log(&[2, 3, 16], false);
    let blocks = disk.unsynced_blocks();
    assert!(blocks.len() >= 4 && blocks.len() <= 10, "{}", blocks.len());
    for subset in 0..1u32 << blocks.len() {
        let survivors: Vec<_> = blocks
            .iter()
            .enumerate()
            .filter(|(index, _)| subset >> index & 1 == 1)
            .map(|(_, &block)| block)
            .collect();
        let files = disk.power_cut(&survivors);
        let (kept, report) = recover(&files);
        let synced = flat(&batches[..2]);
        assert_eq!(kept[..synced.len()], synced, "subset {subset:b}");
        let rest = &kept[synced.len()..];
        assert!(rest.iter().all(|record| batches[2].contains(record)), "subset {subset:b}");
        let has_marker = files[&SEGMENT][ends[2] - MARKER_BYTES..ends[2]]
            == disk.files[&SEGMENT][ends[2] - MARKER_BYTES..ends[2]];
        if !has_marker {
            assert_eq!(rest, [], "subset {subset:b}: a batch without a marker is cut whole");
        }
        if survivors.len() == blocks.len() {
            assert_eq!(rest, batches[2]);
        }
        assert!(
            report.gaps.iter().all(|gap| gap.verdict != Verdict::DamagedSynced),
            "subset {subset:b}"
        );
        check_goes_on(&files, &kept, &report);
    }
}

/// After any recovery the log goes on, and the next recovery gives the same and what came after, with the same verdicts but for the torn tail.
fn check_goes_on(files: &BTreeMap<u64, Vec<u8>>, kept: &[Kept], report: &Report) {
    let config = config(64 * 1024);
    let mut writer = reopen(config, 99, files);
    let mut disk = TestDisk::new(config.segment_bytes);
    disk.files = files.clone();
    disk.stable = files.clone();
    let added = append(&mut writer, 1_000_000, 50);
    assert_eq!(added.seq, report.next_seq.0);
    writer.require_sync(0, 0);
    disk.drain(&mut writer, 0);
    assert_eq!(writer.progress().synced, Seq(added.seq + 1));
    let (again, second) = recover(&disk.stable);
    assert_eq!(again[..kept.len()], *kept);
    assert_eq!(again[kept.len()..], [added]);
    let lasting: Vec<_> =
        report.gaps.iter().filter(|gap| gap.verdict != Verdict::TornTail).cloned().collect();
    assert_eq!(second.gaps, lasting);
}

#[test]
fn a_recycled_file_gives_nothing_of_its_former_life() {
    let Small { disk, .. } = small_log(&[9, 7, 11], true);
    let former = disk.stable[&SEGMENT].clone();
    let config = config(64 * 1024);
    // The same sequence numbers as in the former life, another salt.
    let mut writer = Writer::new(config, 8).unwrap();
    let mut disk = TestDisk::new(config.segment_bytes);
    disk.spares = vec![former];
    let mut all = Vec::new();
    for tag in 0..5 {
        all.push(append(&mut writer, 500 + tag, 40));
        writer.require_sync(0, 0);
        disk.drain(&mut writer, 0);
        let (kept, report) = recover(&disk.stable);
        assert_eq!(kept, all);
        assert_eq!(lost(&report.gaps), 0);
    }
}

#[test]
fn a_tail_that_was_cut_stays_cut() {
    let Small { disk, batches, ends } = small_log(&[2, 3], true);
    let mut files = disk.stable.clone();
    files.get_mut(&SEGMENT).unwrap()[ends[1] - 100..].fill(0);
    let (kept, report) = recover(&files);
    assert_eq!(kept, batches[0]);
    assert_eq!(report.gaps.len(), 1);
    check_goes_on(&files, &kept, &report);
}

#[test]
fn a_gap_at_a_segments_end_is_damage_when_the_log_went_on() {
    let mut log = two_segments();
    let end = log.first_end;
    let file = log.disk.stable.get_mut(&1).unwrap();
    file[end - 300..].fill(0);
    let (kept, report) = recover(&log.disk.stable);
    let missing = log.all.len() - kept.len();
    assert!(missing > 0);
    assert_eq!(report.torn_tail_bytes, 0);
    let [body, tail] = &report.gaps[..] else { panic!("{:?}", report.gaps) };
    assert!(matches!(body.verdict, Verdict::DamagedBody { .. }) && body.was_synced);
    // Only the marker is missing besides.
    assert_eq!((&tail.verdict, tail.missing, tail.was_synced), (&Verdict::DamagedSynced, 1, true));
    assert_eq!(lost(&report.gaps), missing as u64 + 1);
    assert!(log.all.ends_with(&kept[kept.len() - 3..]));
}

fn three_segments() -> TwoSegments {
    let mut log = two_segments();
    let mut writer = reopen(config(64 * 1024), 8, &log.disk.stable);
    log.all.push(append(&mut writer, 11_000, 10));
    writer.require_sync(0, 0);
    log.disk.drain(&mut writer, 0);
    log
}

struct TwoSegments {
    disk: TestDisk,
    all: Vec<Kept>,
    first_end: usize,
}

fn two_segments() -> TwoSegments {
    let config = config(64 * 1024);
    let mut writer = Writer::new(config, 7).unwrap();
    let mut disk = TestDisk::new(config.segment_bytes);
    let (mut all, mut first_end) = (Vec::new(), 0);
    while disk.files.len() < 2 {
        all.push(append(&mut writer, all.len() as u64, 3000));
        disk.drain(&mut writer, 0);
        if let Some(crate::DiskOp::Write { segment: 1, offset, chunks }) =
            disk.ops.iter().rfind(|op| matches!(op, crate::DiskOp::Write { .. }))
        {
            first_end = *offset as usize + chunks.iter().map(bytes::Bytes::len).sum::<usize>();
        }
    }
    all.push(append(&mut writer, 10_000, 10));
    all.push(append(&mut writer, 10_001, 10));
    writer.require_sync(0, 0);
    disk.drain(&mut writer, 0);
    TwoSegments { disk, all, first_end }
}

fn read_empty(
    recovery: &mut Recovery,
    header: &SegmentHeader,
    next: Option<&SegmentHeader>,
) -> Result<(), RecoveryError> {
    recovery.segment(header, &[], next, &mut |_| panic!("nothing there")).map(drop)
}

#[test]
fn segments_that_are_not_one_log_are_refused() {
    let header = |segment, first_seq| SegmentHeader {
        segment,
        first_seq,
        salt: 1,
        segment_bytes: 0,
        synced_through: 0,
        version: VERSION,
        is_damaged: false,
    };
    let mut recovery = Recovery::new();
    assert_eq!(read_empty(&mut recovery, &header(5, 10), None), Ok(()));
    assert_eq!(
        read_empty(&mut recovery, &header(8, 30), None),
        Err(RecoveryError::MissingSegments { first: 6, last: 7 })
    );
    let mut recovery = Recovery::new();
    assert_eq!(read_empty(&mut recovery, &header(5, 10), Some(&header(6, 20))), Ok(()));
    let overlap = RecoveryError::Overlap { segment: 6, expected: Seq(20), found: Seq(19) };
    assert_eq!(read_empty(&mut recovery, &header(6, 19), None), Err(overlap));
    let mut recovery = Recovery::new();
    assert_eq!(read_empty(&mut recovery, &header(5, 10), None), Ok(()));
    assert_eq!(
        read_empty(&mut recovery, &header(5, 10), None),
        Err(RecoveryError::OutOfOrder { segment: 5 })
    );
}

#[test]
fn a_segment_without_a_header_is_one_gap() {
    let log = two_segments();
    let next = parse_header(&log.disk.stable[&2]).unwrap();
    let mut recovery = Recovery::new();
    recovery.unreadable_segment(1, 65536, Some(&next)).unwrap();
    let mut kept = 0;
    recovery.segment(&next, &log.disk.stable[&2], None, &mut |_| kept += 1).unwrap();
    let report = recovery.finish();
    assert_eq!(kept, 3);
    let [gap] = &report.gaps[..] else { panic!("{:?}", report.gaps) };
    assert_eq!((gap.first_seq, gap.missing), (Seq(1), next.first_seq - 1));
    assert_eq!(gap.verdict, Verdict::DamagedSynced);
}

/// Segments of which some are missing, everything readable in those that are there.
fn with_holes(files: &BTreeMap<u64, Vec<u8>>, ends: BTreeMap<u64, u64>) -> (Vec<Kept>, Report) {
    let headers = headers_of(files);
    let (mut recovery, mut kept) = (Recovery::with_holes(ends), Vec::new());
    for (index, file) in files.values().enumerate() {
        let mut deliver = |record: RawRecord<'_>| kept.push(Kept::of(&record));
        recovery
            .segment(&headers[index], file, headers.get(index + 1), &mut deliver)
            .expect("holes are no error");
    }
    (kept, recovery.finish())
}

#[test]
fn a_segment_that_is_gone_is_an_error_unless_holes_are_expected() {
    let TwoSegments { mut disk, all, .. } = three_segments();
    let (hole, end) =
        (headers_of(&disk.stable)[1].first_seq, headers_of(&disk.stable)[2].first_seq);
    disk.stable.remove(&2);
    let headers = headers_of(&disk.stable);
    let mut recovery = Recovery::new();
    recovery.segment(&headers[0], &disk.stable[&1], None, &mut |_| {}).unwrap();
    assert_eq!(
        recovery.segment(&headers[1], &disk.stable[&3], None, &mut |_| panic!("delivered")),
        Err(RecoveryError::MissingSegments { first: 2, last: 2 })
    );
    let (kept, report) = with_holes(&disk.stable, BTreeMap::new());
    let wanted: Vec<_> = all.into_iter().filter(|kept| !(hole..end).contains(&kept.seq)).collect();
    assert_eq!((kept, report.gaps), (wanted, Vec::new()));
}

#[test]
fn where_a_segment_before_a_hole_ends_is_told_by_whoever_described_it() {
    let TwoSegments { mut disk, all, first_end } = three_segments();
    let hole = headers_of(&disk.stable)[1].first_seq;
    disk.stable.remove(&2);
    disk.stable.get_mut(&1).unwrap()[first_end - MARKER_BYTES..].fill(0);
    // A batch without its marker: nobody knows whether it was ever whole.
    let (kept, report) = with_holes(&disk.stable, BTreeMap::new());
    let has = |kept: &[Kept], seq| kept.iter().any(|kept| kept.seq == seq);
    assert!(!has(&kept, hole - 2) && has(&kept, hole - 4));
    assert_eq!((report.gaps, report.torn_tail_bytes), (Vec::new(), 0));
    // Unless its end is known: then only the marker is missing.
    let (kept, report) = with_holes(&disk.stable, BTreeMap::from([(1, hole)]));
    assert_eq!(kept.iter().filter(|kept| kept.seq < hole).count(), {
        all.iter().filter(|kept| kept.seq < hole).count()
    });
    let [gap] = &report.gaps[..] else { panic!("{:?}", report.gaps) };
    assert_eq!((gap.segment, gap.first_seq, gap.missing), (1, Seq(hole - 1), 1));
}

/// What is damaged behind the checkpoint makes that everything is read, and then it costs one record.
#[test]
fn a_flipped_bit_behind_the_checkpoint_costs_at_most_one_record() {
    let mut log = three_segments();
    let config = config(64 * 1024);
    let mut writer = reopen(config, 9, &log.disk.stable);
    for tag in 20_000..20_003 {
        log.all.push(append(&mut writer, tag, 10));
    }
    log.all.iter().for_each(|kept| writer.add_ref(Seq(kept.seq), 1, 1));
    log.disk.drain(&mut writer, 0);
    checkpoint(&mut writer);
    log.disk.drain(&mut writer, 0);
    let start = log.disk.known().start;
    assert_eq!(start.segment, 4);
    for tag in 30_000..30_002 {
        log.all.push(append(&mut writer, tag, 10));
        writer.require_sync(0, 0);
        log.disk.drain(&mut writer, 0);
    }
    let end = writer.segments.back().unwrap().used_bytes;
    for at in start.offset..end {
        let mut files = log.disk.files.clone();
        files.get_mut(&4).unwrap()[at as usize] ^= 0x10;
        let mut kept = Vec::new();
        let booted =
            boot(config, 10, &files, &log.disk.superblock, &mut |_, record| match record {
                None => kept.clear(),
                Some(record) => kept.push(Kept::of(record)),
            });
        let gaps = &booted.report.gaps;
        let [gap] = &gaps[..] else { panic!("byte {at}: {gaps:?}") };
        // A marker can be made good.
        assert_eq!(booted.is_everything, gap.is_loss(), "byte {at}: {gap:?}");
        let wanted: Vec<_> = log
            .all
            .iter()
            .filter(|kept| booted.is_everything || kept.seq >= start.checkpoint_seq)
            .filter(|kept| kept.seq != gap.first_seq.0 || !gap.is_loss())
            .cloned()
            .collect();
        assert!(kept == wanted, "byte {at}: {gap:?}");
        let start = booted.writer.superblock().start;
        assert_eq!(start == Start::EVERYTHING, booted.is_everything);
    }
}

/// A body that is itself a piece of this very journal, salt and all, must not be mistaken for it, wherever the damage is.
#[test]
fn a_journal_inside_a_body_is_not_the_journal() {
    let config = config(64 * 1024);
    let mut writer = Writer::new(config, 7).unwrap();
    let mut disk = TestDisk::new(config.segment_bytes);
    let mut commit = |writer: &mut Writer| {
        writer.require_sync(0, 0);
        disk.drain(writer, 0);
        disk.stable[&SEGMENT].clone()
    };
    let mut all: Vec<_> = (1..=2).map(|tag| append(&mut writer, tag, 30)).collect();
    let so_far = commit(&mut writer);
    let inner = bytes::Bytes::copy_from_slice(&so_far[HEADER_BYTES..HEADER_BYTES + 300]);
    let seq = writer.append(9, b"copy", Some(&inner), crc32fast::hash(&inner));
    all.push(append(&mut writer, 77, 20));
    let file = commit(&mut writer);
    let at = file.windows(inner.len()).rposition(|window| window == inner).unwrap();
    for byte in at - 32..at {
        let mut damaged = file.clone();
        damaged[byte] ^= 1;
        let (kept, report) = recover(&one(damaged));
        assert_eq!(kept, all, "byte {byte}");
        let [gap] = &report.gaps[..] else { panic!("{:?}", report.gaps) };
        assert_eq!((gap.first_seq, gap.missing), (seq, 1));
    }
}

proptest! {
    /// No bytes make it panic, and nothing is delivered that lies outside the file.
    #[test]
    fn no_bytes_make_it_panic(
        segment in 0u64..3, first_seq in prop_oneof![0u64..4, Just(u64::MAX), Just(u64::MAX - 1)],
        salt: u64, next_first in proptest::option::of(prop_oneof![0u64..40, Just(u64::MAX)]),
        tail in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..2000),
    ) {
        let header = SegmentHeader { segment, first_seq, salt, segment_bytes: 4096, synced_through: salt, version: VERSION, is_damaged: false };
        let mut file = header.encode();
        file.extend_from_slice(&tail);
        let next = next_first.map(|first_seq| SegmentHeader { segment: segment + 1, first_seq, ..header.clone() });
        let mut recovery = Recovery::new();
        let _ = recovery.segment(&header, &file, next.as_ref(), &mut |_| {});
        let report = recovery.finish();
        prop_assert!(report.synced_through < report.next_seq);
        let _ = parse_header(&tail);
    }

    /// Any damage to a log: what is delivered was appended, in order, and all that is missing is accounted for.
    #[test]
    fn any_damage_is_accounted_for(
        sizes in proptest::collection::vec(1usize..6, 1..6),
        damage in proptest::collection::vec((0usize..4000, 1usize..700, any::<u8>()), 1..4),
    ) {
        let Small { disk, batches, ends } = small_log(&sizes, true);
        let all = flat(&batches);
        let mut file = disk.stable[&SEGMENT].clone();
        for (at, len, with) in damage {
            let at = (HEADER_BYTES + at).min(*ends.last().unwrap() - 1);
            let end = (at + len).min(file.len());
            file[at..end].fill(with);
        }
        let files = one(file);
        let (kept, report) = recover(&files);
        prop_assert!(kept.is_sorted());
        prop_assert!(kept.iter().all(|record| all.contains(record)));
        // Every sequence number below the next one is delivered, a marker's, or in a gap.
        let markers = markers_of(&batches);
        let kept_seqs: Vec<u64> = kept.iter().map(|record| record.seq).collect();
        for seq in 1..report.next_seq.0 {
            let is_gap = report.gaps.iter().any(|gap| {
                gap.verdict != Verdict::TornTail && gap.first_seq.0 <= seq && seq < gap.first_seq.0 + gap.missing
            });
            let is_kept = kept_seqs.contains(&seq);
            prop_assert!(is_kept != is_gap || markers.contains(&seq), "record {seq}: {:?}", report.gaps);
        }
        check_goes_on(&files, &kept, &report);
    }
}

fn markers_of(batches: &[Vec<Kept>]) -> Vec<u64> {
    batches.iter().map(|batch| batch.last().unwrap().seq + 1).collect()
}
