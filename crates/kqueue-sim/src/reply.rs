//! Cuts the server's bytes into replies, independently of the decoder under test.
//!
//! Must not: forgive anything; what no server may say is an error.

use std::collections::BTreeMap;
use std::fmt;

/// One reply, or one of the parts of a longer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A line of its own.
    Line(String),
    /// `VALUE <queue> <flags> <bytes>` and its body.
    Value { queue: String, flags: u32, body: Vec<u8> },
    /// `ITEM <queue> <id> <flags> <attempts> <age_ms> <bytes>` and its body.
    Item { queue: String, id: u64, flags: u32, attempts: u32, body: Vec<u8> },
    /// `FOUND <queue> <id> <state> <bytes> <name>=<value>…` and its body.
    Found { queue: String, id: u64, state: String, named: BTreeMap<String, String>, body: Vec<u8> },
    /// `GOT <number> <bytes>` and its body, of the simulator's own protocol.
    Got { number: i64, body: Vec<u8> },
    /// `HEAD <bytes>` and its body, of the same.
    Head { body: Vec<u8> },
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, body) = match self {
            Self::Line(line) => return f.write_str(line),
            Self::Value { queue, flags, body } => (format!("VALUE {queue} {flags}"), body),
            Self::Item { queue, id, attempts, body, .. } => {
                (format!("ITEM {queue} {id} (attempt {attempts})"), body)
            }
            Self::Found { queue, id, state, named, body } => {
                (format!("FOUND {queue} {id} {state} {named:?}"), body)
            }
            Self::Got { number, body } => (format!("GOT {number}"), body),
            Self::Head { body } => ("HEAD".into(), body),
        };
        let begin = &body[..body.len().min(12)];
        write!(f, "{line}, {} bytes: {}", body.len(), begin.escape_ascii())
    }
}

/// Takes the next part off `bytes`; `None` if it is not complete yet.
///
/// # Errors
/// What cannot be a reply.
pub(crate) fn next(bytes: &mut Vec<u8>) -> Result<Option<Part>, String> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let line = String::from_utf8(bytes[..end].to_vec()).map_err(|error| error.to_string())?;
    let words: Vec<&str> = line.split(' ').collect();
    let length = match words[..] {
        ["VALUE", _, _, length]
        | ["FOUND", _, _, _, length, ..]
        | ["ITEM", _, _, _, _, _, length]
        | ["GOT", _, length]
        | ["HEAD", length] => length,
        _ => {
            bytes.drain(..end + 2);
            return Ok(Some(Part::Line(line)));
        }
    };
    let number = |word: &str| word.parse::<u64>().map_err(|error| format!("{line:?}: {error}"));
    let length = usize::try_from(number(length)?).map_err(|error| error.to_string())?;
    let body_end = end + 2 + length;
    let Some(tail) = bytes.get(body_end..body_end + 2) else { return Ok(None) };
    if tail != b"\r\n" {
        return Err(format!("{line:?} is followed by a body that does not end with CRLF"));
    }
    let body = bytes[end + 2..body_end].to_vec();
    let small = |word: &str| number(word).map(|value| value as u32);
    let queue = words[1].to_owned();
    let part = match words[0] {
        "HEAD" => Part::Head { body },
        "GOT" => {
            let number = words[1].parse().map_err(|error| format!("{line:?}: {error}"))?;
            Part::Got { number, body }
        }
        "FOUND" => {
            let named = words[5..].iter().filter_map(|word| word.split_once('='));
            let named: BTreeMap<String, String> =
                named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            if named.len() != words.len() - 5 {
                return Err(format!("{line:?}: a word that has no name, or a name twice"));
            }
            Part::Found { queue, id: number(words[2])?, state: words[3].to_owned(), named, body }
        }
        "VALUE" => Part::Value { queue, flags: small(words[2])?, body },
        _ => Part::Item {
            queue,
            id: number(words[2])?,
            flags: small(words[3])?,
            attempts: small(words[4])?,
            body,
        },
    };
    bytes.drain(..body_end + 2);
    Ok(Some(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_cut_where_they_end() {
        let mut bytes =
            b"STORED\r\nVALUE q 7 4\r\na\r\nb\r\nEND\r\nITEM q 5 1 2 9 0\r\n\r\nEN".to_vec();
        let mut parts = Vec::new();
        while let Some(part) = next(&mut bytes).unwrap() {
            parts.push(part);
        }
        let queue = || "q".to_owned();
        assert_eq!(
            parts,
            [
                Part::Line("STORED".into()),
                Part::Value { queue: queue(), flags: 7, body: b"a\r\nb".to_vec() },
                Part::Line("END".into()),
                Part::Item { queue: queue(), id: 5, flags: 1, attempts: 2, body: Vec::new() },
            ]
        );
        assert_eq!(bytes, b"EN");
    }

    #[test]
    fn a_body_of_another_length_is_an_error() {
        assert!(next(&mut b"VALUE q 0 1\r\nab\r\nEND\r\n".to_vec()).is_err());
    }
}
