//! Names of the log's files: `log-<16 lower-case hex digits of the number>.kq`.

use alloc::format;
use alloc::string::String;

/// The name of a segment's file.
pub fn segment_file_name(segment: u64) -> String {
    format!("log-{segment:016x}.kq")
}

/// The number of the segment whose file has this name; `None` for any other file.
pub fn segment_number(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_prefix("log-")?.strip_suffix(".kq")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (segment_file_name(number) == file_name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_the_same_thing() {
        for number in [0, 1, 0xabc, u64::MAX] {
            assert_eq!(segment_number(&segment_file_name(number)), Some(number));
        }
        assert_eq!(segment_file_name(0x2a), "log-000000000000002a.kq");
    }

    #[test]
    fn other_names_are_no_segments() {
        for name in [
            "",
            "log-.kq",
            "log-1.kq",
            "log-000000000000002A.kq",
            "log-+00000000000002a.kq",
            "log-000000000000002a.kq.tmp",
            "log-0000000000000002a.kq",
            "Log-000000000000002a.kq",
        ] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }
}
