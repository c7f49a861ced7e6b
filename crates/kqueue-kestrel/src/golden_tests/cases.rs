//! The directories, file by file.

use crate::SkipReason;
use crate::test_journal::{ADDED, Journal};

/// A directory and what is in it.
pub(crate) struct Case {
    /// Its name below `fixtures/`.
    pub(crate) name: &'static str,
    pub(crate) files: Vec<(&'static str, Journal)>,
    /// The queues and their items, in order.
    pub(crate) left: Vec<(&'static str, Vec<&'static str>)>,
    /// File, offset, bytes lost, anomaly.
    pub(crate) warnings: Vec<&'static str>,
    pub(crate) skipped: Vec<(&'static str, SkipReason)>,
}

impl Case {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            files: Vec::new(),
            left: Vec::new(),
            warnings: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn file(mut self, name: &'static str, journal: Journal) -> Self {
        self.files.push((name, journal));
        self
    }

    fn left(mut self, queue: &'static str, items: &[&'static str]) -> Self {
        self.left.push((queue, items.to_vec()));
        self
    }

    fn warns(mut self, warning: &'static str) -> Self {
        self.warnings.push(warning);
        self
    }

    fn skips(mut self, name: &'static str, reason: SkipReason) -> Self {
        self.skipped.push((name, reason));
        self
    }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        kinds(),
        lengths(),
        torn(),
        archives(),
        torn_archive(),
        pack_leftover(),
        strangers(),
        legacy_roll(),
        rewritten(),
        packed(),
        read_behind(),
        read_behind_surplus(),
        read_behind_identity(),
        rolled_back(),
        half_rewritten(),
    ]
}

/// Each record once, where it makes a difference.
fn kinds() -> Case {
    let abc = || Journal::new().add("a").add("b").add("c");
    Case::new("kinds")
        .file("op0", Journal::new().starling(0, "starling").starling(1_234_567_890, "expires"))
        .left("op0", &["starling", "expires"])
        .file("op1", abc().remove())
        .left("op1", &["b", "c"])
        .file("op2", Journal::new().add("hello").add_at(ADDED, ADDED + 1000, "\0\r\nÿ"))
        .left("op2", &["hello", "\\x00\\r\\n\\xc3\\xbf"])
        .file("op3", abc().tentative_legacy().tentative_legacy().confirm(2))
        .left("op3", &["a", "c"])
        .file("op4", abc().save_xid(41).tentative_legacy().tentative_legacy().confirm(43))
        .left("op4", &["a", "c"])
        .file("op5", abc().tentative(1).tentative(2).unremove(1))
        .left("op5", &["b", "a", "c"])
        .file("op6", abc().tentative(1).tentative(2).confirm(1))
        .left("op6", &["b", "c"])
        .file("op7", Journal::new().add_xid(9, "a").add_xid(8, "b").remove())
        .left("op7", &["b"])
        .file("op8", Journal::new().add("one").tentative(1).continued(1, "two"))
        .left("op8", &["two"])
        .file("op9", abc().tentative(-1).tentative(1).tentative(2).confirm(1))
        .left("op9", &["a", "c"])
}

/// Lengths that Kestrel's own tests assert; `golden_tests.rs` asserts them too.
fn lengths() -> Case {
    let eight = "12345678".split("").filter(|body| !body.is_empty());
    Case::new("lengths")
        .file("eight_of_one_byte", eight.fold(Journal::new(), Journal::add))
        .left("eight_of_one_byte", &["1", "2", "3", "4", "5", "6", "7", "8"])
        .file("eleven_bytes", Journal::new().add("hello world"))
        .left("eleven_bytes", &["hello world"])
        .file("eleven_bytes_and_get", Journal::new().add("hello world").remove())
        .left("eleven_bytes_and_get", &[])
        .file("first_second_get", Journal::new().add("first").add("second").remove())
        .left("first_second_get", &["second"])
        .file("kitty", Journal::new().add("meow!!").remove())
        .left("kitty", &[])
}

/// What crashes and bad disks leave at the end of the newest file.
fn torn() -> Case {
    let ab = || Journal::new().add("a").add("b");
    let huge = [&[2][..], &i32::MAX.to_le_bytes(), &[0; 40]].concat();
    let negative = [&[2][..], &(-1i32).to_le_bytes(), &[0; 40]].concat();
    Case::new("torn")
        .file("body", ab().remove().add("this is torn").without_last(4))
        .left("body", &["b"])
        .warns("body 45 29 Broken(PastTheEnd { size: 28 })")
        .file("head", ab().confirm(1).without_last(1))
        .left("head", &["a", "b"])
        .warns("head 44 4 Broken(CutOff)")
        .file("huge", ab().raw(&huge))
        .left("huge", &["a", "b"])
        .warns("huge 44 45 Broken(PastTheEnd { size: 2147483647 })")
        .file("negative", ab().raw(&negative))
        .left("negative", &["a", "b"])
        .warns("negative 44 45 Broken(NegativeSize { size: -1 })")
        .file("opcode", ab().raw(&[10]).remove())
        .left("opcode", &["a", "b"])
        .warns("opcode 44 2 Broken(UnknownOpcode { opcode: 10 })")
        .file("short", ab().raw(&[2, 15, 0, 0, 0]).raw(&[0; 15]))
        .left("short", &["a", "b"])
        .warns("short 44 20 Broken(SizeTooSmall { size: 15 })")
        .file("zeros", ab().raw(&[0; 512]))
        .left("zeros", &["a", "b"])
        .warns("zeros 44 512 Broken(SizeTooSmall { size: 0 })")
}

/// Numbers, not text, order the archives; open items and removals reach over the ends of files.
fn archives() -> Case {
    Case::new("archives")
        .file("q.999", Journal::new().add("a").add("b").tentative(1))
        .file("q.1000", Journal::new().remove().add("c").tentative(2).add("d"))
        .file("q", Journal::new().confirm(2).unremove(1).add("e"))
        .left("q", &["a", "d", "e"])
        .file("empty", Journal::new())
        .left("empty", &[])
        .file("only_archives.5", Journal::new().add("x"))
        .left("only_archives", &["x"])
        .sorted()
}

/// Kestrel cuts the newest file where the archive is torn; here the archive ends and everything else counts.
fn torn_archive() -> Case {
    Case::new("torn_archive")
        .file("q.17", Journal::new().add("a").add("b").add("lost").without_last(1))
        .file("q.18", Journal::new().remove().raw(&[255]).add("lost too"))
        .file("q", Journal::new().add("c").add("d"))
        .left("q", &["b", "c", "d"])
        .warns("q.17 44 24 Broken(PastTheEnd { size: 20 })")
        .warns("q.18 1 30 Broken(UnknownOpcode { opcode: 255 })")
}

/// From Kestrel's tests: killed after a pack was made, before what it replaces was removed.
fn pack_leftover() -> Case {
    Case::new("pack_leftover")
        .file("test.50", Journal::new().add("replaced").add("b"))
        .file("test.100", Journal::new().remove())
        .file("test.100.pack", Journal::new().add("b"))
        .file("test.3000", Journal::new().add("c"))
        .file("test", Journal::new().add("d").remove())
        .left("test", &["c", "d"])
        .skips("test.100", SkipReason::Packed)
        .skips("test.50", SkipReason::Packed)
}

/// Files that are none of a queue's.
fn strangers() -> Case {
    Case::new("strangers")
        .file("spam", Journal::new().add("eggs"))
        .file("spam~~1355345045123", Journal::new().add("unfinished"))
        .file("spam.1355345045123.bak", Journal::new().add("copy"))
        .file("foo.txt", Journal::new().raw(b"notes\n"))
        .file(".status", Journal::new().raw(b"up"))
        .file("sub/inner", Journal::new().add("not mine"))
        .file("spam+child", Journal::new().add("fanned out"))
        .left("spam", &["eggs"])
        .left("spam+child", &["fanned out"])
        .skips(".status", SkipReason::Foreign)
        .skips("foo.txt", SkipReason::Foreign)
        .skips("spam.1355345045123.bak", SkipReason::Foreign)
        .skips("spam~~1355345045123", SkipReason::Temporary)
}

/// A 1.x server wrote its journal anew while 12 and 9 were open, and went on.
fn legacy_roll() -> Case {
    let rolled = || {
        Journal::new()
            .add_xid(12, "open as 12")
            .tentative_legacy()
            .add_xid(9, "open as 9")
            .tentative_legacy()
            .save_xid(12)
            .add("x")
            .add("y")
    };
    Case::new("legacy_roll")
        .file("crashed", rolled())
        .left("crashed", &["open as 9", "open as 12", "x", "y"])
        .file("went_on", rolled().confirm(12).tentative_legacy().unremove(9).confirm(13))
        .left("went_on", &["open as 9", "y"])
}

/// From Kestrel's tests: written anew with A, B, C open as 6, 7, 8 and D, E, F in the queue.
fn rewritten() -> Case {
    let snapshot = || {
        Journal::new()
            .add("A")
            .tentative(6)
            .add("B")
            .tentative(7)
            .add("C")
            .tentative(8)
            .add("D")
            .add("E")
            .add("F")
    };
    Case::new("rewritten")
        .file("q", snapshot())
        .left("q", &["A", "B", "C", "D", "E", "F"])
        .file("q_went_on", snapshot().confirm(7).remove().unremove(6).tentative(9))
        .left("q_went_on", &["C", "A", "E", "F"])
}

/// From Kestrel's tests: A6, B7, C8 open, D, E, F queued; rotated, then D removed, E opened as 9, A confirmed, G added, and packed.
fn packed() -> Case {
    let archive = Journal::new()
        .add("A")
        .tentative(6)
        .add("B")
        .tentative(7)
        .add("C")
        .tentative(8)
        .add("E")
        .add("F");
    Case::new("packed")
        .file("q.1355345045123", archive)
        .file("q", Journal::new().remove().tentative(9).confirm(6).add("G"))
        .left("q", &["B", "C", "F", "G"])
}

/// A queue longer than Kestrel's memory: the empty items of the packed file stand for items that are gone, and later files remove them.
fn read_behind() -> Case {
    let archive = Journal::new()
        .add("reserved at the checkpoint")
        .tentative(4)
        .add("opened since")
        .add_at(ADDED, 0, "")
        .add_at(ADDED, 0, "")
        .add("memory 1")
        .add("memory 2");
    Case::new("read_behind")
        .file("q.1355345045123", archive)
        .file("q.1355345046000", Journal::new().tentative(5).remove().add("behind 1"))
        .file("q", Journal::new().remove().confirm(4).add("behind 2"))
        .left("q", &["opened since", "memory 1", "memory 2", "behind 1", "behind 2"])
}

/// Versions up to 2.4.1 counted one too many.
fn read_behind_surplus() -> Case {
    let archive = Journal::new().add("").add("").add("memory 1");
    Case::new("read_behind_surplus")
        .file("q.1355345045123", archive)
        .file("q", Journal::new().remove().add("behind 1"))
        .left("q", &["", "memory 1", "behind 1"])
}

/// The removal that an empty item stands for came before the open read: the two change places, and the empty one comes back.
fn read_behind_identity() -> Case {
    Case::new("read_behind_identity")
        .file("q.1355345045123", Journal::new().add("E").add("").add("F"))
        .file("q", Journal::new().remove().tentative(9))
        .left("q", &["", "F"])
}

/// From Kestrel's tests: one to five, four of them opened, the second and fourth confirmed.
fn rolled_back() -> Case {
    let five = ["one", "two", "three", "four", "five"].into_iter();
    let journal = five
        .fold(Journal::new(), Journal::add)
        .tentative(1)
        .tentative(2)
        .tentative(3)
        .tentative(4)
        .confirm(2)
        .confirm(4);
    Case::new("rolled_back").file("q", journal).left("q", &["one", "three", "five"])
}

/// Killed between the two renames of a rewrite: both files have everything.
fn half_rewritten() -> Case {
    Case::new("half_rewritten")
        .file("q.1355345945123", Journal::new().add("a").add("b"))
        .file("q", Journal::new().add("gone").add("a").add("b").remove())
        .left("q", &["b", "gone", "a", "b"])
        .warns("q 0 0 OlderThanArchive")
}

impl Case {
    /// Queues are delivered by name.
    fn sorted(mut self) -> Self {
        self.left.sort_by_key(|(queue, _)| *queue);
        self
    }
}
