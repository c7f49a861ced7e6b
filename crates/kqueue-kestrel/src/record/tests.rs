//! The bytes of each record, written out.

use super::*;

fn unhex(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn decode_whole(bytes: &[u8]) -> Result<Record, Broken> {
    let wanted = head_bytes(bytes[0]).min(bytes.len());
    decode(&bytes[..wanted], bytes.len() as u64)
}

const ADDED_MS: u64 = 1_355_345_045_123;

#[test]
fn each_record_has_these_bytes() {
    let add = "02 15 00 00 00  83 26 dc 90 3b 01 00 00  00 00 00 00 00 00 00 00  68 65 6c 6c 6f";
    let head = |body_at, body_len, expiry_ms| ItemHead {
        body_at,
        body_len,
        add_time_ms: Some(ADDED_MS),
        expiry_ms,
    };
    let examples = [
        (add, Record::Add { item: head(21, 5, None), xid: None }),
        ("01", Record::Remove),
        ("03", Record::Reserve { xid: None }),
        ("04 ff ff ff ff", Record::SaveXid { xid: -1 }),
        ("05 01 00 00 00", Record::Return { xid: 1 }),
        ("06 01 00 00 00", Record::Confirm { xid: 1 }),
        ("09 00 01 00 80", Record::Reserve { xid: Some(i32::MIN + 256) }),
        (
            "07 02 00 00 00 11 00 00 00 83 26 dc 90 3b 01 00 00 05 00 00 00 00 00 00 00 61",
            Record::Add { item: head(25, 1, Some(5)), xid: Some(2) },
        ),
        (
            "08 01 00 00 00 13 00 00 00 83 26 dc 90 3b 01 00 00 00 00 00 00 00 00 00 00 74 77 6f",
            Record::Continue { item: head(25, 3, None), xid: 1 },
        ),
        (
            "00 06 00 00 00 10 00 00 00 61 62",
            Record::Add {
                item: ItemHead {
                    body_at: 9,
                    body_len: 2,
                    add_time_ms: None,
                    expiry_ms: Some(16_000),
                },
                xid: None,
            },
        ),
    ];
    for (hex, record) in examples {
        let bytes = unhex(hex);
        assert_eq!(decode_whole(&bytes), Ok(record), "{hex}");
        assert_eq!(record.bytes(), bytes.len() as u64, "{hex}");
        // What follows it makes no difference, and any missing byte does.
        assert_eq!(decode(&bytes[..head_bytes(bytes[0])], 1 << 40), Ok(record), "{hex}");
        for length in 1..bytes.len() {
            let error = decode_whole(&bytes[..length]).unwrap_err();
            assert!(matches!(error, Broken::CutOff | Broken::PastTheEnd { .. }), "{hex}: {error}");
        }
    }
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let of = |hex: &str| decode_whole(&unhex(hex)).unwrap_err();
    assert_eq!(of("00 00 00 00 00 00 00 00 00"), Broken::SizeTooSmall { size: 0 });
    assert_eq!(of("00 00 00 00 00"), Broken::SizeTooSmall { size: 0 });
    assert_eq!(of("00 03 00 00 00 00 00 00"), Broken::SizeTooSmall { size: 3 });
    let rest = "00 ".repeat(16);
    assert_eq!(of(&format!("02 0f 00 00 00 {rest}")), Broken::SizeTooSmall { size: 15 });
    assert_eq!(
        of(&format!("07 01 00 00 00 0f 00 00 00 {rest}")),
        Broken::SizeTooSmall { size: 15 }
    );
    assert_eq!(of(&format!("02 ff ff ff ff {rest}")), Broken::NegativeSize { size: -1 });
    assert_eq!(of("02 00 00 00 80"), Broken::NegativeSize { size: i32::MIN });
    let huge = Broken::PastTheEnd { size: i32::MAX.unsigned_abs() };
    assert_eq!(of(&format!("02 ff ff ff 7f {rest}")), huge);
    assert_eq!(of(&format!("08 01 00 00 00 ff ff ff 7f {rest}")), huge);
    assert_eq!(of(&format!("02 11 00 00 00 {rest}")), Broken::PastTheEnd { size: 17 });
    assert_eq!(of("0a 00"), Broken::UnknownOpcode { opcode: 10 });
    assert_eq!(of("ff"), Broken::UnknownOpcode { opcode: 255 });
    assert_eq!(decode(&[], 0), Err(Broken::CutOff));
}

#[test]
fn times_before_1970_are_long_past_and_zero_is_never() {
    let negative = "ff ff ff ff ff ff ff ff";
    let of = |hex: &str| *decode_whole(&unhex(hex)).unwrap().item().unwrap();
    let item = of(&format!("02 10 00 00 00 {negative} {negative}"));
    assert_eq!((item.add_time_ms, item.expiry_ms), (Some(0), Some(0)));
    let item = of("00 04 00 00 00 ff ff ff ff");
    assert_eq!((item.add_time_ms, item.expiry_ms, item.body_len), (None, Some(0), 0));
    let item = of("00 04 00 00 00 00 00 00 00");
    assert_eq!(item.expiry_ms, None);
    let item = of("00 04 00 00 00 ff ff ff 7f");
    assert_eq!(item.expiry_ms, Some(2_147_483_647_000));
}
