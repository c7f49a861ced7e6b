//! Decimal numbers on the wire.
//!
//! Must not: accept anything but digits, except in [`parse_kestrel`], which also takes a
//! minus.

use bytes::BufMut;

/// Digits only, at least one, and no overflow.
pub(crate) fn parse_u64(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// [`parse_u64`] within the range of a `u32`.
pub(crate) fn parse_u32(word: &[u8]) -> Option<u32> {
    parse_u64(word).and_then(|number| u32::try_from(number).ok())
}

/// A number as Kestrel reads it (Java's `parseInt`): perhaps a minus, digits, the range of `i32`. A plus is refused: nobody sends one but to probe.
pub(crate) fn parse_kestrel(word: &[u8]) -> Option<i32> {
    match word {
        [b'-', digits @ ..] => {
            parse_u64(digits).and_then(|n| i64::try_from(n).ok()).and_then(|n| (-n).try_into().ok())
        }
        digits => parse_u64(digits).and_then(|n| n.try_into().ok()),
    }
}

/// Appends a number in decimal.
pub(crate) fn put_u64(out: &mut impl BufMut, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn only_digits_are_a_number() {
        for bad in ["", "-", "+", "-1", "+1", " 1", "1 ", "0x1", "1.0", "18446744073709551616"] {
            assert_eq!(parse_u64(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"007"), Some(7));
        assert_eq!(parse_u32(b"4294967295"), Some(u32::MAX));
        assert_eq!(parse_u32(b"4294967296"), None);
    }

    #[test]
    fn a_minus_and_32_bits_are_taken() {
        assert_eq!(parse_kestrel(b"2147483647"), Some(i32::MAX));
        assert_eq!(parse_kestrel(b"2147483648"), None);
        assert_eq!(parse_kestrel(b"-2147483648"), Some(i32::MIN));
        assert_eq!(parse_kestrel(b"-2147483649"), None);
        assert_eq!(parse_kestrel(b"+5"), None);
        assert_eq!(parse_kestrel(b"-0"), Some(0));
        for bad in
            ["", "-", "+", "--1", "+-1", "1-", "x", "18446744073709551615", "-9223372036854775808"]
        {
            assert_eq!(parse_kestrel(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number: u64) {
            let mut out = Vec::new();
            put_u64(&mut out, number);
            let expected = number.to_string().into_bytes();
            prop_assert_eq!(&out, &expected);
            prop_assert_eq!(parse_u64(&out), Some(number));
        }
    }
}
