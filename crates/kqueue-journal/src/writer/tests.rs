//! When what is written and synced, where, and what happens when the disk says no.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::format::KIND_MARKER;
use crate::test_disk::{
    Kept, TestDisk, append, checkpoint, config, io_fault, no_space, recover, reopen, small_log,
};

const KIB: u64 = 1024;

fn new_writer() -> (Writer, TestDisk) {
    let config = config(64 * KIB);
    (Writer::new(config, 7).unwrap(), TestDisk::new(config.segment_bytes))
}

/// The kinds of the operations in a job.
fn names(job: &Job) -> Vec<&'static str> {
    job.ops
        .iter()
        .map(|op| match op {
            DiskOp::Prepare { .. } => "prepare",
            DiskOp::Create { .. } => "create",
            DiskOp::Write { .. } => "write",
            DiskOp::Sync { .. } => "sync",
            DiskOp::Flush { .. } => "flush",
            DiskOp::Remove { .. } => "remove",
            DiskOp::WriteSuper { .. } => "super",
        })
        .collect()
}

fn done(writer: &mut Writer, disk: &mut TestDisk, job: &Job) {
    disk.run(job).unwrap();
    writer.handle_done(0, job.id, Ok(()));
}

/// Takes the next job, checks what it is, and does it.
fn step(writer: &mut Writer, disk: &mut TestDisk, now_ms: u64, wanted: &[&str]) -> Job {
    let job = writer.poll_job(now_ms).expect("a job");
    assert_eq!(names(&job), wanted);
    done(writer, disk, &job);
    job
}

#[test]
fn what_is_appended_while_a_job_is_in_flight_gathers_in_the_next() {
    let (mut writer, mut disk) = new_writer();
    assert_eq!(writer.poll_job(0), None);
    append(&mut writer, 1, 10);
    step(&mut writer, &mut disk, 0, &["create", "super"]);
    append(&mut writer, 2, 10);
    writer.require_sync(0, 0);
    let job = writer.poll_job(0).unwrap();
    assert_eq!(names(&job), ["write", "sync"]);
    assert!(!job.is_write_only);
    // Beside it, for the first segment has no other one behind it yet.
    step(&mut writer, &mut disk, 0, &["prepare"]);
    for tag in 3..=5 {
        append(&mut writer, tag, 10);
        writer.require_sync(0, 0);
        assert_eq!(writer.poll_job(0), None, "one log job at a time");
    }
    assert_eq!(writer.progress().written, Seq(0));
    done(&mut writer, &mut disk, &job);
    assert_eq!(writer.progress(), Progress { written: Seq(3), synced: Seq(3), poisoned: false });
    step(&mut writer, &mut disk, 0, &["write", "sync"]);
    // Five records, a marker after the second and after the fifth.
    assert_eq!(writer.progress().synced, Seq(7));
    assert_eq!(writer.last_seq(), Seq(6));
    assert_eq!(writer.poll_job(0), None);
}

#[test]
fn without_a_demand_nothing_is_synced() {
    let (mut writer, mut disk) = new_writer();
    append(&mut writer, 1, 10);
    disk.drain(&mut writer, 0);
    append(&mut writer, 2, 10);
    let job = step(&mut writer, &mut disk, 0, &["write"]);
    assert!(job.is_write_only);
    assert_eq!(writer.progress(), Progress { written: Seq(4), synced: Seq(0), poisoned: false });
    assert_eq!(writer.poll_timeout(), None);
}

#[test]
fn a_small_batch_is_one_chunk_and_a_long_body_is_not_copied() {
    let config = config(1024 * KIB);
    let (mut writer, mut disk) =
        (Writer::new(config, 7).unwrap(), TestDisk::new(config.segment_bytes));
    append(&mut writer, 1, 10);
    disk.drain(&mut writer, 0);
    append(&mut writer, 2, 16 * 1024);
    append(&mut writer, 3, 0);
    let job = step(&mut writer, &mut disk, 0, &["write"]);
    let DiskOp::Write { chunks, .. } = &job.ops[0] else { panic!() };
    assert_eq!(chunks.len(), 1);

    let body = Bytes::from(vec![7; 16 * 1024 + 1]);
    writer.append(1, b"m", Some(&body), crc32fast::hash(&body));
    append(&mut writer, 4, 5);
    let job = step(&mut writer, &mut disk, 0, &["write"]);
    let DiskOp::Write { chunks, .. } = &job.ops[0] else { panic!() };
    assert_eq!(chunks.len(), 3);
    assert_eq!(chunks[1].as_ptr(), body.as_ptr());
    assert_eq!(recover(&disk.files).0.len(), 5);
}

#[test]
fn a_batch_is_a_small_part_of_a_segment() {
    let (mut writer, mut disk) = new_writer();
    for number in 0..8 {
        append(&mut writer, number, 3000);
    }
    disk.drain(&mut writer, 0);
    for number in 8..22 {
        append(&mut writer, number, 3000);
    }
    // What does not fit any more goes into the next segment, but no more than that.
    step(&mut writer, &mut disk, 0, &["write", "sync"]);
    let (used, usable) = (65536 - writer.room_bytes(), writer.config.usable_bytes());
    assert!(used > usable - usable / BATCHES_PER_SEGMENT, "{used} of {usable}");
}

#[test]
fn a_sync_within_some_time_is_due_at_the_earliest_of_them() {
    let (mut writer, mut disk) = new_writer();
    append(&mut writer, 1, 10);
    writer.require_sync(1000, 50);
    append(&mut writer, 2, 10);
    writer.require_sync(1001, 10);
    append(&mut writer, 3, 10);
    writer.require_sync(1002, 100);
    disk.drain(&mut writer, 1002);
    assert_eq!(writer.progress().synced, Seq(0));
    assert_eq!(writer.poll_timeout(), Some(1011));
    assert_eq!(writer.poll_job(1010), None);
    let job = step(&mut writer, &mut disk, 1011, &["sync"]);
    assert!(!job.is_write_only);
    assert_eq!(writer.progress().synced, Seq(4));
    assert_eq!(writer.poll_timeout(), None);
}

#[test]
fn an_earlier_sync_for_another_reason_serves_the_demand() {
    let (mut writer, mut disk) = new_writer();
    append(&mut writer, 1, 10);
    writer.require_sync(0, 50);
    append(&mut writer, 2, 10);
    writer.require_sync(0, 0);
    disk.drain(&mut writer, 0);
    assert_eq!(writer.poll_timeout(), None);
    assert_eq!(writer.poll_job(50), None);
    // Nothing new since: no sync is needed.
    writer.require_sync(60, 0);
    assert_eq!(writer.poll_job(60), None);
    // A demand for what is being synced right now needs no second sync, one for what came later does.
    append(&mut writer, 3, 10);
    writer.require_sync(60, 0);
    let job = writer.poll_job(60).unwrap();
    writer.require_sync(60, 0);
    done(&mut writer, &mut disk, &job);
    assert_eq!(writer.poll_job(60), None);
    append(&mut writer, 4, 10);
    let job = writer.poll_job(60).unwrap();
    assert_eq!(names(&job), ["write"]);
    writer.require_sync(60, 0);
    done(&mut writer, &mut disk, &job);
    step(&mut writer, &mut disk, 60, &["sync"]);
}

#[test]
fn a_segment_is_synced_before_the_next_one_is_created() {
    let (mut writer, mut disk) = new_writer();
    let mut all = Vec::new();
    for tag in 0..200 {
        all.push(append(&mut writer, tag, 3000));
        disk.drain(&mut writer, 0);
    }
    assert!(disk.files.len() > 8);
    let mut last_write_is_synced = true;
    for op in &disk.ops {
        match op {
            DiskOp::Write { .. } => last_write_is_synced = false,
            DiskOp::Sync { .. } => last_write_is_synced = true,
            DiskOp::Create { .. } => assert!(last_write_is_synced),
            _ => {}
        }
    }
    // Nobody asked for a sync: one per roll, and no more.
    let syncs = disk.ops.iter().filter(|op| matches!(op, DiskOp::Sync { .. })).count();
    assert_eq!(syncs, disk.files.len() - 1);
    assert_eq!(recover(&disk.files).0, all);
    let infos: Vec<_> = writer.segments().collect();
    assert_eq!(infos.len(), disk.files.len());
    assert_eq!(writer.log_bytes(), disk.files.len() as u64 * 64 * KIB);
}

#[test]
fn what_nobody_syncs_is_flushed_from_time_to_time_beside_what_is_written() {
    let config = WriterConfig { flush_bytes: 10_000, ..config(64 * KIB) };
    let (mut writer, mut disk) =
        (Writer::new(config, 7).unwrap(), TestDisk::new(config.segment_bytes));
    let write = |writer: &mut Writer, disk: &mut TestDisk, tag| {
        append(writer, tag, 4000);
        let job = writer.poll_job(0).unwrap();
        assert_eq!(names(&job), ["write"]);
        done(writer, disk, &job);
    };
    append(&mut writer, 0, 10);
    disk.drain(&mut writer, 0);
    write(&mut writer, &mut disk, 1);
    write(&mut writer, &mut disk, 2);
    assert_eq!(writer.poll_job(0), None);
    write(&mut writer, &mut disk, 3);
    let flush = writer.poll_job(0).unwrap();
    assert_eq!((names(&flush), flush.is_background), (vec!["flush"], true));
    write(&mut writer, &mut disk, 4);
    write(&mut writer, &mut disk, 5);
    // It is no sync that anybody may count on.
    done(&mut writer, &mut disk, &flush);
    assert_eq!(writer.progress().synced, Seq(0));
    // A sync does the same.
    writer.require_sync(0, 0);
    step(&mut writer, &mut disk, 0, &["sync"]);
    write(&mut writer, &mut disk, 6);
    assert_eq!(writer.poll_job(0), None);
    write(&mut writer, &mut disk, 7);
    write(&mut writer, &mut disk, 8);
    let flush = writer.poll_job(0).unwrap();
    // Without a descriptor it was not begun; what could not be written is lost.
    writer.handle_done(0, flush.id, Err(no_space()));
    assert!(!writer.progress().poisoned);
    (9..12).for_each(|tag| write(&mut writer, &mut disk, tag));
    let flush = writer.poll_job(0).unwrap();
    assert_eq!(names(&flush), ["flush"]);
    writer.handle_done(0, flush.id, Err(io_fault()));
    assert!(writer.progress().poisoned);
}

#[test]
fn a_disk_that_is_always_behind_with_flushing_makes_a_spare_in_time() {
    let config = WriterConfig { flush_bytes: 4 * KIB, ..config(64 * KIB) };
    let (mut writer, mut disk) =
        (Writer::new(config, 7).unwrap(), TestDisk::new(config.segment_bytes));
    append(&mut writer, 0, 10);
    disk.drain(&mut writer, 0);
    // Each flush takes as long as it takes to write what makes the next one due.
    let mut background: Option<Job> = None;
    // That of the first segment was made when there was nothing to flush yet.
    let (mut has_spare, mut segments) = (true, 1);
    while segments < 4 {
        append(&mut writer, segments, 5000);
        if let Some(job) = background.take() {
            has_spare |= names(&job) == ["prepare"];
            done(&mut writer, &mut disk, &job);
        }
        while let Some(job) = writer.poll_job(0) {
            if names(&job).contains(&"create") {
                assert!(has_spare, "segment {segments} is full and there is no spare");
                (has_spare, segments) = (false, segments + 1);
            }
            match job.is_background {
                true => background = Some(job),
                false => done(&mut writer, &mut disk, &job),
            }
        }
    }
}

#[test]
fn little_is_left_for_the_sync_at_the_end_of_a_segment() {
    let config = WriterConfig { flush_bytes: 16 * KIB, ..config(256 * KIB) };
    let (mut writer, mut disk) =
        (Writer::new(config, 7).unwrap(), TestDisk::new(config.segment_bytes));
    for tag in 0..2000 {
        append(&mut writer, tag, 300);
        disk.drain(&mut writer, 0);
    }
    assert!(disk.files.len() > 2);
    let (mut unsynced_bytes, mut flushes, mut has_ended) = (0, 0, false);
    for op in &disk.ops {
        match op {
            DiskOp::Write { chunks, .. } => {
                unsynced_bytes += chunks.iter().map(Bytes::len).sum::<usize>() as u64;
            }
            DiskOp::Flush { .. } => (flushes, unsynced_bytes) = (flushes + 1, 0),
            DiskOp::Sync { .. } => {
                assert!(unsynced_bytes < 3 * KIB, "{unsynced_bytes} bytes are left for the sync");
                // Sixteen of them would do without the short ones at the end.
                assert!((16..24).contains(&flushes), "{flushes} flushes for one segment");
                (flushes, unsynced_bytes, has_ended) = (0, 0, true);
            }
            _ => {}
        }
    }
    assert!(has_ended);
}

#[test]
fn what_does_not_fit_into_one_segment_is_split_between_records() {
    let (mut writer, mut disk) = new_writer();
    let all: Vec<_> =
        (0..300).map(|tag| append(&mut writer, tag, 100 + (tag as usize * 997) % 20_000)).collect();
    writer.require_sync(0, 0);
    disk.drain(&mut writer, 0);
    let (kept, report) = recover(&disk.stable);
    assert_eq!(kept, all);
    assert_eq!(report.gaps, []);
    assert_eq!(report.next_seq.0, writer.next_seq);
    assert!(writer.progress().synced >= writer.last_seq());
}

#[test]
fn the_largest_record_fits_and_a_smaller_segment_is_refused() {
    let max_record_bytes = 1024 * KIB;
    let fits = |segment_bytes| {
        WriterConfig { segment_bytes, log_cap_bytes: 0, max_record_bytes, flush_bytes: u64::MAX }
            .check()
    };
    let Err(ConfigError::SegmentTooSmall { needed_bytes }) = fits(1024 * KIB) else { panic!() };
    assert!(fits(needed_bytes - 1).is_err());
    let config = WriterConfig {
        segment_bytes: needed_bytes,
        log_cap_bytes: 0,
        max_record_bytes,
        flush_bytes: u64::MAX,
    };
    let mut writer = Writer::new(config, 1).unwrap();
    let mut disk = TestDisk::new(needed_bytes);
    let body = Bytes::from(vec![1; max_record_bytes as usize - 8]);
    for _ in 0..3 {
        writer.append(1, &[0; 8], Some(&body), crc32fast::hash(&body));
        disk.drain(&mut writer, 0);
    }
    assert_eq!(recover(&disk.files).0.len(), 3);
}

#[test]
#[should_panic(expected = "at most")]
fn a_record_that_could_never_be_written_is_refused_at_once() {
    let (mut writer, _) = new_writer();
    append(&mut writer, 1, 60 * 1024);
}

#[test]
#[should_panic(expected = "the journal's")]
fn the_journals_kinds_are_taken() {
    let (mut writer, _) = new_writer();
    const { assert!(KIND_CHECKPOINT_END < KIND_MARKER) };
    writer.append(KIND_CHECKPOINT_END, &[], None, 0);
}

/// Fills the disk's last segment so far that a spare is asked for and refused.
fn fill_until_refused(writer: &mut Writer, disk: &mut TestDisk) -> Vec<Kept> {
    let mut all = Vec::new();
    append(writer, 0, 10);
    if writer.active.is_none() {
        step(writer, disk, 0, &["create", "super"]);
    }
    disk.is_full = true;
    disk.drain(writer, 0);
    while writer.has_room(1000) && !matches!(writer.space, Space::Refused { .. }) {
        all.push(append(writer, all.len() as u64 + 1, 1000));
        disk.drain(writer, 0);
    }
    all
}

#[test]
fn space_that_a_put_waits_for_is_asked_for_once_a_second_on_a_full_disk() {
    let (mut writer, mut disk) = new_writer();
    append(&mut writer, 1, 1000);
    step(&mut writer, &mut disk, 0, &["create", "super"]);
    assert!(writer.must_wait_for_space(1 << 20));
    let mut asked = 0;
    while let Some(job) = writer.poll_job(0) {
        asked += u32::from(job.is_background);
        assert!(asked < 3, "it does not wait before it asks again");
        let fault = DiskFault { kind: FaultKind::NoSpace, text: "full".into() };
        let result = if job.is_background { Err(fault) } else { Ok(()) };
        writer.handle_done(0, job.id, result);
    }
    assert!(!writer.must_wait_for_space(1 << 20), "it is refused now");
}

#[test]
fn more_than_a_segment_has_room_for_waits_for_a_whole_one_and_not_for_ever() {
    let (mut writer, mut disk) = new_writer();
    append(&mut writer, 1, 10);
    disk.drain(&mut writer, 0);
    append(&mut writer, 2, 50 * KIB as usize);
    step(&mut writer, &mut disk, 0, &["write"]);
    while writer.must_wait_for_space(1 << 20) {
        let job = writer.poll_job(0).expect("a job that makes room");
        done(&mut writer, &mut disk, &job);
    }
}

#[test]
fn a_full_disk_refuses_puts_in_time_and_takes_removals() {
    let (mut writer, mut disk) = new_writer();
    fill_until_refused(&mut writer, &mut disk);
    assert_eq!(writer.poll_timeout(), Some(1000));
    let mut puts = 0;
    while writer.has_room(1000) {
        append(&mut writer, 5000 + puts, 1000);
        writer.require_sync(0, 0);
        disk.drain(&mut writer, 0);
        // Whatever was let in had a place.
        assert!(writer.progress().synced >= writer.last_seq());
        puts += 1;
    }
    assert!(puts > 10);
    let mut removals = 0;
    loop {
        append(&mut writer, 9000 + removals, 0);
        disk.drain(&mut writer, 0);
        if writer.progress().written < writer.last_seq() {
            break;
        }
        removals += 1;
    }
    // The reserve of 4 KiB holds this many removals even if each is a batch of its own.
    assert!(removals >= 4096 / 88, "{removals}");
    assert_eq!(disk.files.len(), 1);
    // What found no place waits; a second later space is asked for again; nothing is lost.
    assert_eq!(writer.poll_timeout(), Some(1000));
    disk.drain(&mut writer, 1000);
    assert_eq!(writer.poll_timeout(), Some(2000));
    assert!(!writer.has_room(0) && !writer.progress().poisoned);
    disk.is_full = false;
    assert_eq!(writer.poll_job(1999), None);
    disk.drain(&mut writer, 2000);
    assert!(writer.has_room(1000));
    assert!(writer.progress().written >= writer.last_seq());
    let (kept, report) = recover(&disk.files);
    assert_eq!(kept.len() as u64 + 2, report.next_seq.0 - markers(&disk) + 1);
    assert_eq!(kept.last().unwrap().seq, writer.last_seq().0);
}

/// How many batches were written.
fn markers(disk: &TestDisk) -> u64 {
    let (kept, report) = recover(&disk.files);
    report.next_seq.0 - 1 - kept.len() as u64
}

#[test]
fn without_space_for_the_first_segment_the_batch_waits() {
    let (mut writer, mut disk) = new_writer();
    disk.is_full = true;
    let record = append(&mut writer, 1, 10);
    writer.require_sync(0, 0);
    disk.drain(&mut writer, 5);
    assert!(!writer.has_room(0));
    assert!(writer.is_stuck());
    assert_eq!(writer.poll_timeout(), Some(1005), "not the sync that nothing can serve");
    disk.is_full = false;
    disk.drain(&mut writer, 1005);
    assert!(!writer.is_stuck());
    assert_eq!(recover(&disk.stable).0, [record]);
}

#[test]
fn a_batch_that_finds_no_segment_uses_the_reserve() {
    let (mut writer, mut disk) = new_writer();
    append(&mut writer, 0, 10);
    disk.drain(&mut writer, 0);
    // Fills the segment without giving the writer a chance to ask for a spare before.
    for tag in 0..5 {
        append(&mut writer, tag, 11_000);
    }
    step(&mut writer, &mut disk, 0, &["write"]);
    append(&mut writer, 9, 2500);
    let create = writer.poll_job(0).unwrap();
    assert_eq!(names(&create), ["sync"]);
    done(&mut writer, &mut disk, &create);
    let create = writer.poll_job(0).unwrap();
    assert_eq!(names(&create), ["create", "super"]);
    writer.handle_done(0, create.id, Err(no_space()));
    step(&mut writer, &mut disk, 0, &["write"]);
    assert!(writer.progress().written >= writer.last_seq());
    assert!(!writer.has_room(0));
}

#[test]
fn space_that_a_removed_segment_gave_back_is_asked_for_at_once() {
    let (mut writer, mut disk, seqs) = three_segments();
    checkpoint(&mut writer);
    disk.drain(&mut writer, 0);
    fill_until_refused(&mut writer, &mut disk);
    assert!(matches!(writer.space, Space::Refused { .. }));
    let second = writer.segments().nth(1).unwrap().first_seq;
    for &seq in seqs.iter().filter(|&&seq| seq < second) {
        writer.unref(seq, 1, 3008);
    }
    disk.is_full = false;
    disk.drain(&mut writer, 1);
    assert!(!disk.files.contains_key(&1));
    assert_eq!(writer.space, Space::Ready);
}

#[test]
fn any_other_fault_ends_the_writing_for_ever() {
    for fails in 0..3 {
        let (mut writer, mut disk) = new_writer();
        append(&mut writer, 1, 10);
        writer.require_sync(0, 0);
        for _ in 0..fails {
            let Some(job) = writer.poll_job(0) else { break };
            done(&mut writer, &mut disk, &job);
            append(&mut writer, 2, 10);
        }
        let before = writer.progress();
        let job = writer.poll_job(0).unwrap();
        // Also a full disk, where no space was asked for.
        let fault = if fails == 2 { no_space() } else { io_fault() };
        writer.handle_done(0, job.id, Err(fault));
        assert_eq!(writer.progress(), Progress { poisoned: true, ..before });
        append(&mut writer, 3, 10);
        writer.require_sync(0, 0);
        assert_eq!(writer.poll_job(u64::MAX), None);
        assert_eq!(writer.poll_timeout(), None);
        assert_eq!(writer.poll_retire(), None);
        assert!(!writer.has_room(0));
    }
}

#[test]
fn an_unknown_job_changes_nothing() {
    let (mut writer, _) = new_writer();
    append(&mut writer, 1, 10);
    let job = writer.poll_job(0).unwrap();
    writer.handle_done(0, JobId(job.id.0 + 1), Err(io_fault()));
    assert!(!writer.progress().poisoned);
    assert_eq!(writer.poll_job(0), None);
}

fn live_of(writer: &Writer) -> Vec<(u64, u64)> {
    writer.segments().map(|segment| (segment.live_refs, segment.live_bytes)).collect()
}

#[test]
fn references_are_counted_where_the_record_is_or_will_be() {
    let (mut writer, mut disk) = new_writer();
    let seqs: Vec<_> = (0..40)
        .map(|tag| {
            let seq = Seq(append(&mut writer, tag, 3000).seq);
            writer.add_ref(seq, 2, 3008);
            seq
        })
        .collect();
    assert_eq!(writer.live_bytes(), 40 * 3008);
    // Nothing is in a segment yet; one record dies there.
    writer.unref(seqs[0], 1, 1504);
    writer.unref(seqs[0], 1, 1504);
    writer.unref(seqs[0], 1, 1504);
    writer.unref(seqs[30], 1, 1504);
    assert_eq!(writer.live_bytes(), 38 * 3008 + 1504);
    disk.drain(&mut writer, 0);
    let live = live_of(&writer);
    assert_eq!(live.len(), 3);
    assert_eq!(live.iter().map(|(refs, _)| refs).sum::<u64>(), 77);
    assert_eq!(writer.live_bytes(), 38 * 3008 + 1504);
    let firsts: Vec<_> = writer.segments().map(|segment| segment.first_seq).collect();
    let in_second = seqs.iter().filter(|&&seq| seq >= firsts[1] && seq < firsts[2]).count() as u64;
    assert!(live[1].0 >= in_second * 2 - 1);
    for &seq in &seqs {
        writer.unref(seq, 2, 3008);
    }
    assert_eq!(live_of(&writer), [(0, 0); 3]);
}

fn three_segments() -> (Writer, TestDisk, Vec<Seq>) {
    let (mut writer, mut disk) = new_writer();
    let mut seqs = Vec::new();
    while disk.files.len() < 3 {
        let seq = Seq(append(&mut writer, seqs.len() as u64, 3000).seq);
        writer.add_ref(seq, 1, 3008);
        seqs.push(seq);
        disk.drain(&mut writer, 0);
    }
    (writer, disk, seqs)
}

#[test]
fn a_log_goes_on_in_a_new_segment_behind_what_was_recovered() {
    let (mut writer, mut disk, seqs) = three_segments();
    disk.drain(&mut writer, 0);
    let files = disk.files.clone();
    let mut writer = reopen(config(64 * KIB), 21, &files);
    disk.stable = files;
    disk.ops.clear();
    for &seq in &seqs {
        writer.add_ref(seq, 1, 3008);
    }
    assert_eq!(writer.live_bytes(), seqs.len() as u64 * 3008);
    let record = append(&mut writer, 1, 10);
    assert!(record.seq > seqs.last().unwrap().0);
    assert_eq!(writer.last_seq(), Seq(record.seq));
    disk.drain(&mut writer, 0);
    // What was recovered may have been in the page cache only: it is synced before anything is written behind it.
    assert_eq!(disk.ops[0], DiskOp::Sync { segment: 3 });
    assert!(matches!(disk.ops[1], DiskOp::Create { segment: 4, .. }));
    let (kept, report) = recover(&disk.files);
    assert_eq!((kept.len(), report.gaps.len()), (seqs.len() + 1, 0));
    assert_eq!(kept.last(), Some(&record));
}

#[test]
fn references_can_be_added_while_recovery_reads() {
    let (mut writer, mut disk, seqs) = three_segments();
    disk.drain(&mut writer, 0);
    let mut again = Writer::new(config(64 * KIB), 5).unwrap();
    for info in writer.segments() {
        again.recover_segment(info.segment, info.first_seq, 0, info.file_bytes);
        for &seq in seqs.iter().filter(|&&seq| seq >= info.first_seq) {
            again.add_ref(seq, 1, 3008);
            again.unref(seq, 1, 3008);
        }
    }
    assert_eq!(again.live_bytes(), 0);
    for &seq in &seqs {
        again.add_ref(seq, 1, 3008);
    }
    again.recover_end(&recover(&disk.files).1, disk.known());
    assert_eq!(live_of(&again), live_of(&writer));
}

#[test]
fn what_a_killed_process_had_not_synced_is_synced_at_the_next_start() {
    let small = small_log(&[2, 1], false);
    let mut disk = small.disk;
    assert!(!disk.unsynced_blocks().is_empty());
    let mut writer = reopen(config(64 * 1024), 8, &disk.files);
    disk.drain(&mut writer, 0);
    assert!(disk.unsynced_blocks().is_empty());
    assert_eq!(writer.progress().synced, writer.last_seq());
    // Nothing to do where everything had been synced and the log says so.
    let mut writer = reopen(config(64 * 1024), 9, &BTreeMap::new());
    assert_eq!(writer.poll_job(0), None);
}
