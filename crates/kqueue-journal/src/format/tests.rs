//! The bytes themselves: golden values, the fixtures of all formats, and the worked example in `docs/journal_format.md`.
//!
//! `KQUEUE_BLESS=1 cargo test -p kqueue-journal` writes the fixture and the example anew; only for a new version of the format.

use std::format;
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::test_disk::{TestDisk, recover};
use crate::{DiskOp, Seq, Writer, WriterConfig};

const EXAMPLE_BEGIN: &str = "<!-- example: written by a test, do not edit -->\n";
const EXAMPLE_END: &str = "<!-- end of example -->\n";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header() -> SegmentHeader {
    SegmentHeader {
        segment: 0x0102_0304_0506_0708,
        first_seq: 0x1112_1314_1516_1718,
        salt: 0x2122_2324_2526_2728,
        segment_bytes: 64 << 20,
        synced_through: 0x1112_1314_1516_1717,
        version: VERSION,
        is_damaged: false,
    }
}

#[test]
fn a_header_has_these_bytes() {
    let encoded = header().encode();
    assert_eq!(encoded.len(), HEADER_BYTES);
    let fields = "4b51554555454c47\
                  03000000\
                  00100000\
                  0807060504030201\
                  1817161514131211\
                  2827262524232221\
                  0000000400000000\
                  1717161514131211";
    assert_eq!(hex(&encoded[..56]), fields);
    assert_eq!(encoded[56..60], crc32fast::hash(&encoded[..56]).to_le_bytes());
    assert_eq!(hex(&encoded[56..60]), "5a14c894");
    assert_eq!(encoded[..60], encoded[2048..2108]);
    assert!(encoded[60..2048].iter().chain(&encoded[2108..]).all(|&byte| byte == 0));
    assert_eq!(parse_header(&encoded), Ok(header()));
}

#[test]
fn a_record_has_these_bytes() {
    let crc = HeadCrc::new(0x2122_2324_2526_2728);
    let head = Head {
        meta_len: 3,
        body_len: 5,
        seq: 0x1112_1314_1516_1718,
        kind: 1,
        body_crc: crc32fast::hash(b"hello"),
        head_crc: 0,
    };
    let mut record = head.encode().to_vec();
    record.extend_from_slice(b"abchello");
    let head_crc = crc.stamp(&mut record, 3);
    let wanted = "03000000\
                  05000000\
                  1817161514131211\
                  01\
                  00\
                  0000\
                  86a61036\
                  7d9922ee\
                  616263\
                  68656c6c6f";
    assert_eq!(hex(&record), wanted);
    assert_eq!(Head::parse(&record), Some(Head { head_crc, ..head }));
    // The checksum begins with the salt.
    let mut covered = 0x2122_2324_2526_2728u64.to_le_bytes().to_vec();
    covered.extend_from_slice(&record[..24]);
    covered.extend_from_slice(b"abc");
    assert_eq!(head_crc, crc32fast::hash(&covered));
}

#[test]
fn a_marker_has_these_bytes() {
    let crc = HeadCrc::new(0x2122_2324_2526_2728);
    let marker =
        Marker { seq: 12, first_seq: 9, count: 3, heads_crc: 0xa1a2_a3a4, synced_through: 7 };
    let encoded = marker.encode(&crc);
    let wanted = "18000000\
                  00000000\
                  0c00000000000000\
                  ff\
                  00\
                  0000\
                  00000000\
                  5af24bb9\
                  0900000000000000\
                  03000000\
                  a4a3a2a1\
                  0700000000000000";
    assert_eq!(hex(&encoded), wanted);
    assert_eq!(encoded.len(), MARKER_BYTES);
    assert_eq!(Marker::parse(12, &encoded[HEAD_BYTES..]), Some(marker));
    assert_eq!(Marker::parse(12, &encoded[HEAD_BYTES + 1..]), None);
}

/// F5 for headers: two copies, so one damaged byte costs nothing, and it is seen.
#[test]
fn a_damaged_byte_anywhere_in_the_header_is_seen_and_made_good() {
    let encoded = header().encode();
    for at in 0..HEADER_BYTES {
        let mut damaged = encoded.clone();
        damaged[at] ^= 0x10;
        assert_eq!(
            parse_header(&damaged),
            Ok(SegmentHeader { is_damaged: true, ..header() }),
            "byte {at}"
        );
    }
}

#[test]
fn what_is_no_header_is_named() {
    let encoded = header().encode();
    assert_eq!(parse_header(&encoded[..4095]), Err(HeaderError::TooShort { bytes: 4095 }));
    assert_eq!(parse_header(&[]), Err(HeaderError::TooShort { bytes: 0 }));
    assert_eq!(parse_header(b"a text"), Err(HeaderError::NotASegment));
    assert_eq!(parse_header(&[0; HEADER_BYTES]), Err(HeaderError::Blank));
    assert_eq!(parse_header(&[b'x'; HEADER_BYTES]), Err(HeaderError::NotASegment));
    let mut both = encoded.clone();
    both[30] ^= 1;
    both[2048 + 50] ^= 1;
    assert_eq!(parse_header(&both), Err(HeaderError::Damaged));
    for at in [0, 2048] {
        both[at] ^= 1;
    }
    assert_eq!(parse_header(&both), Err(HeaderError::NotASegment));
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let mut newer = header().encode();
    for at in [0, 2048] {
        newer[at + 8] = 4;
        let crc = crc32fast::hash(&newer[at..at + 56]);
        newer[at + 56..at + 60].copy_from_slice(&crc.to_le_bytes());
    }
    assert_eq!(parse_header(&newer), Err(HeaderError::Version { found: 4 }));
}

/// The log of the fixture and of the example: one synced batch of two records, and one of a single record that was never synced.
fn example() -> Vec<u8> {
    let config = WriterConfig {
        segment_bytes: 64 * 1024,
        log_cap_bytes: 0,
        max_record_bytes: 32 * 1024,
        flush_bytes: u64::MAX,
    };
    let mut writer = Writer::new(config, 1).unwrap();
    let mut disk = TestDisk::new(config.segment_bytes);
    let body = Bytes::from_static(b"hello, world");
    writer.append(1, b"posts", None, 0);
    writer.append(3, b"\x01\x02", Some(&body), crc32fast::hash(&body));
    writer.require_sync(0, 0);
    disk.drain(&mut writer, 0);
    writer.append(4, b"\x01", None, 0);
    disk.drain(&mut writer, 0);
    let Some(DiskOp::Write { offset, chunks, .. }) =
        disk.ops.iter().rfind(|op| matches!(op, DiskOp::Write { .. }))
    else {
        panic!("nothing written");
    };
    let end = *offset as usize + chunks.iter().map(Bytes::len).sum::<usize>();
    // The rest is zeros: a fixture need not carry them.
    disk.files[&1][..end + 64].to_vec()
}

fn is_blessing() -> bool {
    std::env::var_os("KQUEUE_BLESS").is_some()
}

fn in_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(in_crate(name)).unwrap()
}

fn check_fixture(mut file: Vec<u8>, version: u32) {
    assert_eq!(parse_header(&file).unwrap().version, version);
    file.resize(64 * 1024, 0);
    let (kept, report) = recover(&[(1, file)].into());
    let read: Vec<_> =
        kept.iter().map(|kept| (kept.seq, kept.kind, &kept.meta[..], &kept.body[..])).collect();
    let wanted: [(u64, u8, &[u8], &[u8]); 3] =
        [(1, 1, b"posts", b""), (2, 3, b"\x01\x02", b"hello, world"), (4, 4, b"\x01", b"")];
    assert_eq!(read, wanted);
    assert_eq!((report.next_seq, report.synced_through, report.gaps), (Seq(6), Seq(3), Vec::new()));
}

/// Nothing writes this file any more.
#[test]
fn format_1_is_read_as_ever() {
    check_fixture(fixture("fixtures/v1.kq"), 1);
}

/// Nor this one.
#[test]
fn format_2_is_read_as_ever() {
    check_fixture(fixture("fixtures/v2.kq"), 2);
}

#[test]
fn format_3_is_written_and_read_as_ever() {
    if is_blessing() {
        std::fs::write(in_crate("fixtures/v3.kq"), example()).unwrap();
    }
    let written = fixture("fixtures/v3.kq");
    assert!(
        written == example(),
        "the writer no longer writes format 3: see the checklist in docs/journal_format.md"
    );
    check_fixture(written, 3);
}

/// One line of the example: where, the bytes, what they are.
fn line(text: &mut String, file: &[u8], at: &mut usize, len: usize, what: &str) {
    let bytes = hex(&file[*at..*at + len]);
    text.push_str(&format!("{:04x}  {bytes:<24}  {what}\n", *at));
    *at += len;
}

fn describe_header(text: &mut String, file: &[u8], at: &mut usize) {
    let fields = [
        (8, "magic \"KQUEUELG\""),
        (4, "version"),
        (4, "header_bytes"),
        (8, "segment"),
        (8, "first_seq"),
        (8, "salt"),
        (8, "segment_bytes"),
        (8, "synced_through"),
        (4, "crc of the 56 bytes before"),
    ];
    for (len, what) in fields {
        line(text, file, at, len, what);
    }
}

fn describe_record(text: &mut String, file: &[u8], at: &mut usize) {
    let head = Head::parse(&file[*at..]).unwrap();
    text.push('\n');
    line(text, file, at, 4, "meta_len");
    line(text, file, at, 4, "body_len");
    line(text, file, at, 8, "seq");
    let what = if head.kind == KIND_MARKER { "kind: commit marker" } else { "kind" };
    line(text, file, at, 1, what);
    line(text, file, at, 1, "flags");
    line(text, file, at, 2, "reserved");
    line(text, file, at, 4, "body_crc");
    line(text, file, at, 4, "head_crc");
    if head.kind == KIND_MARKER {
        for (len, what) in [(8, "first_seq"), (4, "count"), (4, "heads_crc"), (8, "synced_through")]
        {
            line(text, file, at, len, what);
        }
        return;
    }
    line(text, file, at, head.meta_len as usize, "meta");
    if head.body_len > 0 {
        line(text, file, at, head.body_len as usize, "body");
    }
}

fn describe(file: &[u8]) -> String {
    let mut text = String::from("```text\n");
    let mut at = 0;
    describe_header(&mut text, file, &mut at);
    text.push_str("003c  zeros to 07ff; the same 60 bytes again at 0800; zeros to 0fff\n");
    at = HEADER_BYTES;
    for _ in 0..5 {
        describe_record(&mut text, file, &mut at);
    }
    text.push_str("```\n");
    text
}

#[test]
fn the_example_in_the_specification_is_what_the_writer_writes() {
    let path = in_crate("../../docs/journal_format.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(EXAMPLE_BEGIN).expect("the example's first line");
    let (found, after) = rest.split_once(EXAMPLE_END).expect("the example's last line");
    let wanted = describe(&example());
    if is_blessing() {
        let blessed = format!("{before}{EXAMPLE_BEGIN}{wanted}{EXAMPLE_END}{after}");
        std::fs::write(&path, blessed).unwrap();
    } else {
        assert_eq!(found, wanted);
    }
}
