//! What a stream of bytes means as the answer to one request: written down once more, byte by byte
//! and without the decoder, so that the two can disagree.

/// The longest line that is an answer.
pub(crate) const LINE_MAX: usize = 8 * 1024;
/// The longest body that these tests let the client take.
pub(crate) const BODY_MAX: usize = 1 << 20;

/// What kind of answer a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grammar {
    Stored,
    /// `ITEM`s of queue `q` and `END`.
    Items(usize),
    /// `VALUE` of queue `q` or nothing, and `END`.
    Value,
    Settled,
    /// Kestrel's answer to a close.
    Done,
    Stats,
    Version,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Stored(Option<u64>),
    NotStored,
    Items(Vec<(Option<u64>, Vec<u8>)>),
    Done,
    NotHeld,
    Stats(Vec<(Vec<u8>, Vec<u8>)>),
    Version,
    ServerError(Vec<u8>),
    ClientError,
}

impl Answer {
    /// The connection is not used after it.
    pub(crate) fn ends_the_connection(&self, grammar: Grammar) -> bool {
        match self {
            Self::ClientError => true,
            Self::ServerError(_) => grammar != Grammar::Settled,
            _ => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A whole answer, in so many bytes.
    Whole(Answer, usize),
    /// It could still become one.
    Short,
    /// It never will.
    Wrong,
}

/// The line that begins at `at`, and where the next one does.
fn line(bytes: &[u8], at: usize) -> Result<(&[u8], usize), Verdict> {
    let rest = &bytes[at..];
    let end = rest.iter().position(|&byte| byte == b'\r' || byte == b'\n');
    match end {
        None if rest.len() > LINE_MAX => Err(Verdict::Wrong),
        Some(end) if end > LINE_MAX => Err(Verdict::Wrong),
        None => Err(Verdict::Short),
        Some(end) if rest[end..].starts_with(b"\r\n") => Ok((&rest[..end], at + end + 2)),
        Some(end) if rest[end..] == *b"\r" => Err(Verdict::Short),
        Some(_) => Err(Verdict::Wrong),
    }
}

/// The body of so many bytes that begins at `at`, and where the next line does.
fn body(bytes: &[u8], at: usize, count: u64) -> Result<(&[u8], usize), Verdict> {
    if count > BODY_MAX as u64 {
        return Err(Verdict::Wrong);
    }
    let end = at + count as usize;
    match bytes.get(end..) {
        None | Some([] | [b'\r']) => Err(Verdict::Short),
        Some([b'\r', b'\n', ..]) => Ok((&bytes[at..end], end + 2)),
        Some(_) => Err(Verdict::Wrong),
    }
}

fn number(word: &[u8], max: u64) -> Result<u64, Verdict> {
    let is_plain = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(word).ok().filter(|_| is_plain);
    let number = text.and_then(|text| text.parse().ok()).filter(|&number: &u64| number <= max);
    number.ok_or(Verdict::Wrong)
}

pub(crate) fn judge(grammar: Grammar, bytes: &[u8]) -> Verdict {
    judge_all(grammar, bytes).unwrap_or_else(|verdict| verdict)
}

fn judge_all(grammar: Grammar, bytes: &[u8]) -> Result<Verdict, Verdict> {
    let (mut items, mut stats) = (Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        let (text, next) = line(bytes, at)?;
        let is_first = at == 0;
        at = next;
        let words: Vec<&[u8]> = text.split(|&byte| byte == b' ').collect();
        let answer = match (grammar, &words[..]) {
            (_, [b"CLIENT_ERROR" | b"ERROR", ..]) if is_first => Answer::ClientError,
            (_, [b"SERVER_ERROR", ..]) if is_first => {
                Answer::ServerError(text.get("SERVER_ERROR ".len()..).unwrap_or_default().to_vec())
            }
            (Grammar::Stored, [b"STORED"]) => Answer::Stored(None),
            (Grammar::Stored, [b"STORED", id]) => Answer::Stored(Some(number(id, u64::MAX)?)),
            (Grammar::Stored, [b"NOT_STORED", ..]) => Answer::NotStored,
            (_, [b"ITEM", key, id, flags, attempts, age, count]) if !key.is_empty() => {
                let id = number(id, u64::MAX)?;
                number(flags, u32::MAX.into())?;
                number(attempts, u32::MAX.into())?;
                number(age, u64::MAX)?;
                let (body, next) = body(bytes, at, number(count, u64::MAX)?)?;
                // What it belongs to is looked at when all of it is there.
                if !matches!(grammar, Grammar::Items(max) if items.len() < max) || *key != b"q" {
                    return Err(Verdict::Wrong);
                }
                items.push((Some(id), body.to_vec()));
                at = next;
                continue;
            }
            (_, [b"VALUE", key, flags, count]) if !key.is_empty() => {
                number(flags, u32::MAX.into())?;
                let (body, next) = body(bytes, at, number(count, u64::MAX)?)?;
                if grammar != Grammar::Value || !items.is_empty() || *key != b"q" {
                    return Err(Verdict::Wrong);
                }
                items.push((None, body.to_vec()));
                at = next;
                continue;
            }
            (Grammar::Items(_) | Grammar::Value, [b"END"]) => Answer::Items(items),
            (Grammar::Settled, [b"OK"]) => Answer::Done,
            (Grammar::Settled, [b"NOT_HELD"]) => Answer::NotHeld,
            (Grammar::Done, [b"END"] | [b"DELETED"]) => Answer::Done,
            (Grammar::Done, _) if text == b"Flushed all queues." => Answer::Done,
            (Grammar::Stats, [b"STAT", name, _, ..]) if !name.is_empty() => {
                let value = &text["STAT ".len() + name.len() + 1..];
                stats.push((name.to_vec(), value.to_vec()));
                continue;
            }
            (Grammar::Stats, [b"END"]) => Answer::Stats(stats),
            (Grammar::Version, [b"VERSION", _, ..]) => Answer::Version,
            _ => return Err(Verdict::Wrong),
        };
        return Ok(Verdict::Whole(answer, at));
    }
}
