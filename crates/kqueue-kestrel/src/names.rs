//! Kestrel's file names, and which files count.
//!
//! | name | what it is |
//! |---|---|
//! | `QUEUE` | the newest file of a queue |
//! | `QUEUE.N` | an older one; N (its time of rotation, ms) rises |
//! | `QUEUE.N.pack` | replaces all archives up to N; its maker was killed before it could remove them |
//! | `…~~…` | something that was never finished |
//!
//! Invariants: a queue's name holds no dot.
//! Must not: look at files.

/// What a file is to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Current,
    Archive(i64),
    Pack(i64),
}

/// What a name says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileName<'a> {
    Journal { queue: &'a [u8], role: Role },
    Temporary,
    Foreign,
}

pub(crate) fn parse(name: &[u8]) -> FileName<'_> {
    if name.windows(2).any(|pair| pair == b"~~") {
        return FileName::Temporary;
    }
    let Some(dot) = name.iter().position(|&byte| byte == b'.') else {
        return FileName::Journal { queue: name, role: Role::Current };
    };
    let (queue, suffix) = (&name[..dot], &name[dot + 1..]);
    let role = match suffix.strip_suffix(b".pack") {
        Some(digits) => number(digits).map(Role::Pack),
        None => number(suffix).map(Role::Archive),
    };
    match role {
        Some(role) if !queue.is_empty() => FileName::Journal { queue, role },
        _ => FileName::Foreign,
    }
}

/// Any integer will do, as in Kestrel.
fn number(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The files of one queue in the order of their replay, and those that a pack replaces.
pub(crate) fn replay_order<T: Ord>(mut files: Vec<(Role, T)>) -> (Vec<(Role, T)>, Vec<T>) {
    files.sort_by(|(role, file), (other_role, other)| {
        order_key(*role).cmp(&order_key(*other_role)).then_with(|| file.cmp(other))
    });
    // The last pack: it replaces earlier packs too.
    let pack = files.iter().rposition(|(role, _)| matches!(role, Role::Pack(_)));
    let kept = files.split_off(pack.unwrap_or(0));
    (kept, files.into_iter().map(|(_, file)| file).collect())
}

/// A pack goes behind the archive of the same number, which it replaces; the current file behind everything.
fn order_key(role: Role) -> (bool, i64, bool) {
    match role {
        Role::Archive(number) => (false, number, false),
        Role::Pack(number) => (false, number, true),
        Role::Current => (true, 0, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(queue: &str, role: Role) -> FileName<'_> {
        FileName::Journal { queue: queue.as_bytes(), role }
    }

    #[test]
    fn names_say_which_queue_and_what() {
        assert_eq!(parse(b"spam"), journal("spam", Role::Current));
        assert_eq!(parse(b"spam.0"), journal("spam", Role::Archive(0)));
        assert_eq!(parse(b"spam.1355345045123"), journal("spam", Role::Archive(1_355_345_045_123)));
        assert_eq!(parse(b"spam.17.pack"), journal("spam", Role::Pack(17)));
        assert_eq!(parse(b"spam+eggs"), journal("spam+eggs", Role::Current));
        assert_eq!(parse(b"spam+eggs.3"), journal("spam+eggs", Role::Archive(3)));
        let bytes = FileName::Journal { queue: b"\xff\x01", role: Role::Archive(-4) };
        assert_eq!(parse(b"\xff\x01.-4"), bytes);
    }

    #[test]
    fn some_names_belong_to_no_queue() {
        for name in ["spam~~1355345045123", "~~", "spam.17~~3", "a~~b.pack"] {
            assert_eq!(parse(name.as_bytes()), FileName::Temporary, "{name}");
        }
        let foreign = [
            ".status",
            ".17",
            "spam.",
            "spam.txt",
            "spam.17.bak",
            "spam.pack",
            "spam.17.pack.1",
            "spam.99999999999999999999",
            "spam. 17",
        ];
        for name in foreign {
            assert_eq!(parse(name.as_bytes()), FileName::Foreign, "{name}");
        }
        assert_eq!(parse(b"spam~1"), journal("spam~1", Role::Current));
    }

    fn order(names: &[&str]) -> (Vec<String>, Vec<String>) {
        let files = names.iter().map(|name| match parse(name.as_bytes()) {
            FileName::Journal { role, .. } => (role, (*name).to_owned()),
            _ => panic!("{name}"),
        });
        let (kept, replaced) = replay_order(files.collect());
        (kept.into_iter().map(|(_, name)| name).collect(), replaced)
    }

    #[test]
    fn archives_are_ordered_by_number_and_the_current_file_is_last() {
        let (kept, replaced) = order(&["q", "q.1000", "q.999", "q.-3", "q.20"]);
        assert_eq!(kept, ["q.-3", "q.20", "q.999", "q.1000", "q"]);
        assert!(replaced.is_empty());
        assert_eq!(order(&["q.2", "q.10"]).0, ["q.2", "q.10"]);
    }

    /// The example of Kestrel's own test, and more than one pack.
    #[test]
    fn a_pack_replaces_what_is_not_newer() {
        let (kept, replaced) =
            order(&["test.50", "test.100", "test.100.pack", "test.3000", "test"]);
        assert_eq!(kept, ["test.100.pack", "test.3000", "test"]);
        assert_eq!(replaced, ["test.50", "test.100"]);
        let (kept, replaced) = order(&["q.300", "q.200.pack", "q.100.pack", "q.150", "q"]);
        assert_eq!(kept, ["q.200.pack", "q.300", "q"]);
        assert_eq!(replaced, ["q.100.pack", "q.150"]);
        // Of the same number, whatever their names look like.
        let (kept, replaced) = order(&["q.100", "q.0100.pack", "q"]);
        assert_eq!(kept, ["q.0100.pack", "q"]);
        assert_eq!(replaced, ["q.100"]);
    }
}
