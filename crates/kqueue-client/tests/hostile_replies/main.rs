//! Every kind of call, over both dialects, against a server that answers it with anything: cut off,
//! in pieces, with bytes too many, with another request's answer, without an end.
//!
//! What the bytes mean is decided by `grammar`, which knows nothing of the client. Required: the
//! client makes of them exactly that, or an error of the right kind; a connection that is not at the
//! end of an answer is closed; and the next call works.

#[path = "../support/mod.rs"]
mod support;

mod edits;
mod grammar;
mod server;

use std::fmt;
use std::time::Duration;

use kqueue_client::{Cluster, Error, ErrorKind, NeverInterrupted, Options, Pools, RetryMode};
use proptest::test_runner::{Config, TestRunner};

use edits::{TOKENS, case};
use grammar::{Answer, BODY_MAX, Grammar, LINE_MAX, Verdict, judge};
use server::{Hostile, Plan, honest};
use support::{cluster_on, options};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Put,
    PutMany,
    Reserve,
    ReserveMany,
    ReserveWaiting,
    Ack,
    Release,
    Pop,
    /// The confirmation of a pop.
    PopAck,
    Peek,
    Size,
    Stats,
    Ping,
}

const CALLS: [Call; 13] = [
    Call::Put,
    Call::PutMany,
    Call::Reserve,
    Call::ReserveMany,
    Call::ReserveWaiting,
    Call::Ack,
    Call::Release,
    Call::Pop,
    Call::PopAck,
    Call::Peek,
    Call::Size,
    Call::Stats,
    Call::Ping,
];

/// What is in the queue of the hostile server, and of the sound one.
const BODY: &str = "of the hostile one";
const OTHER_BODY: &str = "of the sound one";
/// How many items a call for many asks for.
const MANY: usize = 3;
/// What the kernel may have taken on both sides of a socket.
const BUFFERS_BYTES: usize = 16 << 20;

/// What a call brought.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Ids(Vec<String>),
    /// Ids and bodies.
    Items(Vec<(String, Vec<u8>)>),
    Body(Option<Vec<u8>>),
    Done,
    Size(u64),
    Stats(Vec<(Vec<u8>, Vec<u8>)>),
    Pong(bool),
}

/// Why it failed; `put_many` also says what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failed {
    kind: ErrorKind,
    is_unknown: bool,
    stored: Vec<(usize, String)>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        assert!(error.message().len() < LINE_MAX + 1000, "a whole line of the server at most");
        let (kind, is_unknown) = (error.kind(), error.outcome_unknown());
        Self { kind, is_unknown, stored: Vec::new() }
    }
}

impl Call {
    /// How the request begins whose answer is the matter, how many of them there are, and what
    /// answers there can be to it.
    fn request(self, is_extended: bool) -> (&'static str, usize, Grammar) {
        let (extended, kestrel) = match self {
            Self::Put => (("put q", 1, Grammar::Stored), ("set q", 1, Grammar::Stored)),
            Self::PutMany => (("put q", MANY, Grammar::Stored), ("set q", MANY, Grammar::Stored)),
            Self::Reserve | Self::ReserveWaiting | Self::Pop => {
                (("reserve", 1, Grammar::Items(1)), ("get q/", 1, Grammar::Value))
            }
            Self::ReserveMany => {
                (("reserve", 1, Grammar::Items(MANY)), ("get q/", 1, Grammar::Value))
            }
            Self::Ack | Self::PopAck => {
                (("ack", 1, Grammar::Settled), ("get q/close", 1, Grammar::Done))
            }
            Self::Release => (("release", 1, Grammar::Settled), ("get q/abort", 1, Grammar::Done)),
            Self::Peek => (("get q/peek", 1, Grammar::Value), ("get q/peek", 1, Grammar::Value)),
            Self::Size | Self::Stats => {
                (("stats", 1, Grammar::Stats), ("stats", 1, Grammar::Stats))
            }
            Self::Ping => (("version", 1, Grammar::Version), ("version", 1, Grammar::Version)),
        };
        if is_extended { extended } else { kestrel }
    }

    fn run(self, cluster: &Cluster) -> Result<Got, Failed> {
        let reserve =
            |max, wait| cluster.reserve(&[b"q"], max, wait, Duration::ZERO, &NeverInterrupted);
        let one = || reserve(1, Duration::ZERO).unwrap().remove(0);
        let shown = |held: Vec<kqueue_client::Held>| {
            Got::Items(held.iter().map(|held| (held.id().into(), held.body().to_vec())).collect())
        };
        Ok(match self {
            Self::Put => Got::Ids(vec![cluster.put(b"q", b"body", 0)?]),
            Self::PutMany => {
                let items = (0..MANY).map(|key| (key, "body"));
                let stored = cluster.put_many(b"q", 0, items).map_err(|error| {
                    let all = error.stored.iter().map(|(key, _)| *key).chain(error.failed);
                    let mut all: Vec<_> = all.collect();
                    all.sort_unstable();
                    assert_eq!(all, (0..MANY).collect::<Vec<_>>(), "each is stored or failed");
                    Failed { stored: error.stored, ..error.source.into() }
                })?;
                Got::Ids(stored.into_iter().map(|(_, id)| id).collect())
            }
            Self::Reserve => shown(reserve(1, Duration::ZERO)?),
            Self::ReserveMany => shown(reserve(MANY as u32, Duration::ZERO)?),
            Self::ReserveWaiting => shown(reserve(1, Duration::from_millis(20))?),
            Self::Ack => one().ack().map(|()| Got::Done)?,
            Self::Release => one().release(None).map(|()| Got::Done)?,
            Self::Pop | Self::PopAck => {
                let body = cluster.pop(b"q", Duration::ZERO, &NeverInterrupted)?;
                Got::Body(body.map(|body| body.to_vec()))
            }
            Self::Peek => Got::Body(cluster.peek(b"q")?.map(|body| body.to_vec())),
            Self::Size => Got::Size(cluster.size(b"q")?),
            Self::Stats => {
                let stats = cluster.stats().remove(0).stats?;
                let pair =
                    |(name, value): (bytes::Bytes, bytes::Bytes)| (name.into(), value.into());
                Got::Stats(stats.into_iter().map(pair).collect())
            }
            Self::Ping => Got::Pong(cluster.ping()[0].1.is_some()),
        })
    }

    /// Whether a server that answers with nonsense is left alone afterwards: what is held is settled
    /// where it is held, or not at all.
    fn ejects(self) -> bool {
        !matches!(self, Self::Ack | Self::Release | Self::PopAck)
    }
}

/// Never sends anything twice, so that what comes of the answer is seen.
fn never() -> Options {
    Options { retry_mode: RetryMode::Never, retries: 0, max_body_bytes: BODY_MAX, ..options() }
}

/// Servers of both dialects that many cases are tried on.
struct Bench {
    /// Kestrel's dialect, then the extended one.
    servers: [(Hostile, Hostile); 2],
}

/// One call and the answer to it.
#[derive(Clone)]
struct Case {
    call: Call,
    is_extended: bool,
    pieces: Vec<Vec<u8>>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dialect = if self.is_extended { "extended" } else { "Kestrel" };
        let pieces: Vec<_> = self
            .pieces
            .iter()
            .map(|piece| piece.escape_ascii().take(300).map(char::from).collect::<String>())
            .collect();
        write!(f, "{:?} ({dialect}) answered {pieces:?}", self.call)
    }
}

impl Bench {
    fn new() -> Self {
        let pair = |is_extended| {
            (Hostile::start(is_extended, BODY), Hostile::start(is_extended, OTHER_BODY))
        };
        Self { servers: [pair(false), pair(true)] }
    }

    /// # Panics
    /// If anything is not as it has to be.
    fn check(&self, case: &Case) {
        let Case { call, is_extended, ref pieces } = *case;
        let (hostile, sound) = &self.servers[usize::from(is_extended)];
        let (request, count, grammar) = call.request(is_extended);
        let stream = pieces.concat();
        let verdicts = judge_each(grammar, count, &stream);
        let closes = verdicts.last() == Some(&Verdict::Short);
        let pieces = regroup(pieces, &verdicts);
        hostile.plan(Plan { request, count, pieces, endless: Vec::new(), closes });
        let pools = Pools::new(1);
        let cluster = cluster_on(&pools, &[hostile.address()], never());
        let result = call.run(&cluster);
        assert!(hostile.has_struck(), "{case:?}: {result:?}");
        if is_taken_again(case, &verdicts, stream.len()) {
            assert_eq!(result, Ok(Got::Body(Some(BODY.into()))), "{case:?}");
        } else if call == Call::PutMany {
            check_many(case, &verdicts, &result);
        } else {
            check_one(case, grammar, &verdicts[0], &result);
        }
        // Not a byte of it is left over for the next one.
        let idle = usize::try_from(pools.counters().idle).unwrap();
        if let Some(expected) = idle_after(case, grammar, &verdicts, stream.len()) {
            assert_eq!(idle, expected, "idle connections after {case:?}, {result:?}");
        }
        hostile.await_open(idle);
        let both = cluster_on(&pools, &[hostile.address(), sound.address()], never());
        let next = call.run(&both);
        let is_ejected = call.ejects() && !matches!(verdicts.last(), Some(Verdict::Whole(..)));
        check_next(case, is_ejected, &next);
        drop((cluster, both));
        pools.close_all();
        hostile.await_open(0);
    }
}

/// Behind an item that comes with bytes too many nothing can be asked, not even to confirm it: a pop
/// begins anew.
fn is_taken_again(case: &Case, verdicts: &[Verdict], stream_bytes: usize) -> bool {
    let Some(Verdict::Whole(Answer::Items(items), used)) = verdicts.last() else { return false };
    case.call == Call::Pop && !items.is_empty() && *used < stream_bytes
}

/// As many answers as there are requests, or up to the first that is none.
fn judge_each(grammar: Grammar, count: usize, stream: &[u8]) -> Vec<Verdict> {
    let (mut verdicts, mut at) = (Vec::new(), 0);
    for _ in 0..count {
        match judge(grammar, &stream[at..]) {
            Verdict::Whole(answer, used) => {
                at += used;
                verdicts.push(Verdict::Whole(answer, at));
            }
            other => {
                verdicts.push(other);
                break;
            }
        }
    }
    verdicts
}

/// What follows the last answer comes with it: later, it could come too late to be seen.
fn regroup(pieces: &[Vec<u8>], verdicts: &[Verdict]) -> Vec<Vec<u8>> {
    let Some(Verdict::Whole(_, used)) = verdicts.last() else { return pieces.to_vec() };
    let (mut regrouped, mut at) = (Vec::<Vec<u8>>::new(), 0);
    for piece in pieces {
        match regrouped.last_mut() {
            Some(last) if at >= *used => last.extend_from_slice(piece),
            _ => regrouped.push(piece.clone()),
        }
        at += piece.len();
    }
    regrouped
}

fn is_about_room(text: &[u8]) -> bool {
    text.starts_with(b"out of ") || text.starts_with(b"too many ")
}

fn refusal(text: &[u8]) -> ErrorKind {
    if is_about_room(text) { ErrorKind::Full } else { ErrorKind::Server }
}

fn check_one(case: &Case, grammar: Grammar, verdict: &Verdict, result: &Result<Got, Failed>) {
    let failed = |kind, is_unknown| Err(Failed { kind, is_unknown, stored: Vec::new() });
    let (is_settling, has_effect) = match case.call {
        Call::Ack | Call::Release => (true, true),
        Call::Put => (false, true),
        _ => (false, false),
    };
    let fault = |kind| failed(if is_settling { ErrorKind::Lost } else { kind }, has_effect);
    let expected = match (case.call, verdict) {
        // Confirmed or not, it was ours; what certainly is not confirmed is taken again.
        (Call::PopAck, _) => Ok(Got::Body(Some(BODY.into()))),
        (Call::Ping, verdict) => {
            Ok(Got::Pong(matches!(verdict, Verdict::Whole(Answer::Version, _))))
        }
        (_, Verdict::Wrong) => fault(ErrorKind::Protocol),
        (_, Verdict::Short) => fault(ErrorKind::Connection),
        (_, Verdict::Whole(Answer::ServerError(text), _)) if grammar == Grammar::Settled => {
            failed(refusal(text), false)
        }
        (_, Verdict::Whole(Answer::ServerError(_) | Answer::ClientError, _)) if is_settling => {
            failed(ErrorKind::Lost, false)
        }
        (Call::Put, Verdict::Whole(Answer::ServerError(text), _)) => failed(refusal(text), false),
        (_, Verdict::Whole(Answer::ServerError(_) | Answer::ClientError, _)) => {
            failed(ErrorKind::Server, false)
        }
        (_, Verdict::Whole(Answer::NotStored, _)) => failed(ErrorKind::Full, false),
        (_, Verdict::Whole(Answer::NotHeld, _)) => failed(ErrorKind::Lost, false),
        (_, Verdict::Whole(Answer::Stored(id), _)) => Ok(Got::Ids(vec![id_or_local(*id, result)])),
        (_, Verdict::Whole(Answer::Done, _)) => Ok(Got::Done),
        (Call::Pop | Call::Peek, Verdict::Whole(Answer::Items(items), _)) => {
            Ok(Got::Body(items.first().map(|(_, body)| body.clone())))
        }
        (_, Verdict::Whole(Answer::Items(items), _)) => return check_items(case, items, result),
        (Call::Size, Verdict::Whole(Answer::Stats(stats), _)) => {
            let value = stats.iter().find(|(name, _)| name == b"queue_q_items");
            let value = value.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
            Ok(Got::Size(value.unwrap_or(0)))
        }
        (_, Verdict::Whole(Answer::Stats(stats), _)) => Ok(Got::Stats(stats.clone())),
        (_, Verdict::Whole(Answer::Version, _)) => Ok(Got::Pong(true)),
    };
    assert_eq!(*result, expected, "{case:?}");
}

/// A server that gives no id is given one, which nobody can foretell.
fn id_or_local(id: Option<u64>, result: &Result<Got, Failed>) -> String {
    match (id, result) {
        (None, Ok(Got::Ids(ids))) if ids[0].starts_with('k') => ids[0].clone(),
        (None, _) => "a local id".into(),
        (Some(id), _) => id.to_string(),
    }
}

fn check_items(case: &Case, items: &[(Option<u64>, Vec<u8>)], result: &Result<Got, Failed>) {
    let Ok(Got::Items(got)) = result else { panic!("{case:?}: {result:?}") };
    let is_as_sent = |nth: usize| match &items[nth] {
        (Some(id), body) => got[nth] == (id.to_string(), body.clone()),
        (None, body) => got[nth].0.starts_with('k') && got[nth].1 == *body,
    };
    assert!(got.len() >= items.len() && (0..items.len()).all(is_as_sent), "{case:?}: {got:?}");
    // The rest is what it said to other requests: a Kestrel is asked for one at a time, and a wait
    // that ended early is begun again.
    let may_go_on = match case.call {
        Call::ReserveMany => !case.is_extended && !items.is_empty(),
        Call::ReserveWaiting => items.is_empty(),
        _ => false,
    };
    let is_honest = got[items.len()..].iter().all(|(_, body)| body == BODY.as_bytes());
    assert!(is_honest && (may_go_on || got.len() == items.len()), "{case:?}: {got:?}");
}

fn check_many(case: &Case, verdicts: &[Verdict], result: &Result<Got, Failed>) {
    let mut stored = Vec::new();
    let (mut kinds, mut is_unknown) = (Vec::new(), false);
    for (nth, verdict) in verdicts.iter().enumerate() {
        match verdict {
            Verdict::Whole(Answer::Stored(id), _) => stored.push((nth, *id)),
            Verdict::Whole(Answer::ServerError(text), _) => kinds.push(refusal(text)),
            Verdict::Whole(Answer::ClientError, _) => kinds.push(ErrorKind::Server),
            Verdict::Whole(..) => kinds.push(ErrorKind::Full),
            Verdict::Wrong => {
                (is_unknown, kinds) = (true, [kinds, vec![ErrorKind::Protocol]].concat())
            }
            Verdict::Short => {
                (is_unknown, kinds) = (true, [kinds, vec![ErrorKind::Connection]].concat());
            }
        }
    }
    let ids = match result {
        Ok(Got::Ids(ids)) => (0..MANY).zip(ids.iter().cloned()).collect(),
        Err(failed) => failed.stored.clone(),
        Ok(other) => panic!("{case:?}: {other:?}"),
    };
    assert_eq!(ids.len(), stored.len(), "{case:?}: {result:?}");
    for ((key, id), (nth, sent)) in ids.iter().zip(&stored) {
        let is_same = sent.map_or(id.starts_with('k'), |sent| *id == sent.to_string());
        assert!(key == nth && is_same, "{case:?}: {result:?}");
    }
    match result {
        Ok(_) => assert!(kinds.is_empty(), "{case:?}: {result:?}"),
        Err(failed) => {
            // Several things may have gone wrong: one of them is told.
            assert!(kinds.contains(&failed.kind), "{case:?}: {result:?}");
            assert!(failed.is_unknown || !is_unknown, "{case:?}: {result:?}");
        }
    }
}

/// How many connections may be left; `None` where that depends on what had arrived when.
fn idle_after(
    case: &Case,
    grammar: Grammar,
    verdicts: &[Verdict],
    stream_bytes: usize,
) -> Option<usize> {
    let last = verdicts.last()?;
    let is_begun_again = match (case.call, last) {
        (Call::ReserveWaiting, Verdict::Whole(Answer::Items(items), _)) => items.is_empty(),
        (Call::PopAck, Verdict::Whole(answer, _)) => *answer != Answer::Done,
        (Call::ReserveMany, Verdict::Whole(..)) => !case.is_extended,
        _ => false,
    };
    if is_begun_again || is_taken_again(case, verdicts, stream_bytes) {
        return None;
    }
    let is_refused = verdicts.iter().any(|verdict| {
        matches!(verdict, Verdict::Whole(answer, _) if answer.ends_the_connection(grammar))
    });
    match last {
        Verdict::Whole(..) if is_refused => Some(0),
        Verdict::Whole(_, used) if *used == stream_bytes => Some(1),
        _ => Some(0),
    }
}

fn check_next(case: &Case, is_ejected: bool, next: &Result<Got, Failed>) {
    let is_known =
        |body: &[u8]| body == OTHER_BODY.as_bytes() || !is_ejected && body == BODY.as_bytes();
    let is_sound = match next {
        Ok(Got::Ids(ids)) => ids.iter().all(|id| id == "41" || id.starts_with('k')),
        Ok(Got::Items(items)) => !items.is_empty() && items.iter().all(|(_, body)| is_known(body)),
        Ok(Got::Body(body)) => body.as_ref().is_some_and(|body| is_known(body)),
        Ok(Got::Done | Got::Pong(true)) => true,
        Ok(Got::Size(size)) => *size == if is_ejected { 3 } else { 6 },
        Ok(Got::Stats(stats)) => stats.len() == 2,
        Ok(Got::Pong(false)) | Err(_) => false,
    };
    assert!(is_sound, "the call after {case:?}: {next:?}");
}

/// The right answer to a call, and other ones that are as good.
fn answers(call: Call, is_extended: bool) -> Vec<String> {
    let (request, count, grammar) = call.request(is_extended);
    let right = match grammar {
        Grammar::Done => "END\r\n".into(),
        Grammar::Value => honest("get q/open", is_extended, BODY),
        _ => honest(&format!("{request} "), is_extended, BODY),
    };
    let others: &[&str] = match grammar {
        Grammar::Stored => {
            &["STORED\r\n", "NOT_STORED queue full\r\n", "SERVER_ERROR out of room\r\n"]
        }
        Grammar::Items(1) => &["END\r\n", "ITEM q 1 0 1 0 0\r\n\r\nEND\r\n"],
        Grammar::Items(_) => &["ITEM q 5 0 1 0 1\r\nx\r\nITEM q 6 0 2 9 2\r\nyz\r\nEND\r\n"],
        Grammar::Value => &["END\r\n", "VALUE q 0 7\r\n\r\nEND\r\n\r\nEND\r\n"],
        Grammar::Settled => &["NOT_HELD\r\n", "SERVER_ERROR read-only\r\n"],
        Grammar::Done => &["DELETED\r\n"],
        Grammar::Stats => &["END\r\n", "STAT queue_q_items 5\r\nEND\r\n"],
        Grammar::Version => &["VERSION \r\n"],
    };
    let all = std::iter::once(right.as_str()).chain(others.iter().copied());
    all.map(|answer| answer.repeat(count)).collect()
}

/// Every call, in both dialects, with every good answer to it.
fn each_answer(mut visit: impl FnMut(Call, bool, &str)) {
    for call in CALLS {
        for is_extended in [false, true] {
            for answer in answers(call, is_extended) {
                visit(call, is_extended, &answer);
            }
        }
    }
}

#[test]
fn an_answer_that_ends_anywhere_is_a_broken_connection() {
    let bench = Bench::new();
    each_answer(|call, is_extended, answer| {
        for at in 0..answer.len() {
            let pieces = vec![answer[..at].into()];
            bench.check(&Case { call, is_extended, pieces });
        }
    });
}

#[test]
fn an_answer_in_two_pieces_is_the_same_answer() {
    let bench = Bench::new();
    each_answer(|call, is_extended, answer| {
        for at in 0..=answer.len() {
            let pieces = vec![answer[..at].into(), answer[at..].into()];
            bench.check(&Case { call, is_extended, pieces });
        }
    });
}

#[test]
fn what_follows_an_answer_is_nobodys() {
    let bench = Bench::new();
    each_answer(|call, is_extended, answer| {
        for more in TOKENS.iter().map(|token| token.as_bytes()).chain([answer.as_bytes()]) {
            let pieces = vec![[answer.as_bytes(), more].concat()];
            bench.check(&Case { call, is_extended, pieces });
        }
    });
}

#[test]
fn answers_to_other_requests_are_no_answers() {
    let bench = Bench::new();
    let mut all = Vec::new();
    each_answer(|_, _, answer| all.push(answer.to_owned()));
    all.extend(TOKENS.map(str::to_owned));
    all.sort_unstable();
    all.dedup();
    for call in CALLS {
        for is_extended in [false, true] {
            for answer in &all {
                let pieces = vec![answer.repeat(call.request(is_extended).1).into()];
                bench.check(&Case { call, is_extended, pieces });
            }
        }
    }
}

/// What one item of many is told says nothing about the next.
#[test]
fn every_two_answers_to_many_pushes_are_understood_each_for_itself() {
    let bench = Bench::new();
    for is_extended in [false, true] {
        for (first, second) in TOKENS.iter().flat_map(|one| TOKENS.map(|two| (one, two))) {
            let pieces = vec![[first, second].map(|token| token.as_bytes()).concat()];
            bench.check(&Case { call: Call::PutMany, is_extended, pieces });
        }
    }
}

#[test]
fn a_mutilated_answer_is_what_its_bytes_say_or_an_error() {
    let bench = Bench::new();
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(3000) });
    let result = runner.run(&case(), |case| {
        bench.check(&case);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

/// The client's own limits end an answer that has no end: what is read is bounded by them, whatever
/// the server sends.
#[test]
fn an_endless_answer_is_cut_off_and_not_collected() {
    let largest_value = format!("VALUE q 0 {BODY_MAX}\r\n");
    let largest_item = format!("ITEM q 7 0 1 5 {BODY_MAX}\r\n");
    let item = format!("{largest_item}{}\r\n", "z".repeat(BODY_MAX));
    let answers = [
        ("", "x"),
        ("", "\r\n"),
        ("", "STAT name value\r\n"),
        ("", "ITEM q 7 0 1 5 1\r\nz\r\n"),
        ("", &item),
        ("NOT_STORED ", "x"),
        ("SERVER_ERROR ", "x"),
        ("STORED ", "0"),
        (&largest_value, "z"),
        (&largest_item, "z"),
        ("VALUE q 0 4294967296\r\n", "z"),
        ("ITEM q 7 0 1 5 4294967296\r\n", "z"),
    ];
    let bench = Bench::new();
    for call in CALLS {
        for (begins, goes_on) in answers {
            for is_extended in [false, true] {
                bench.check_endless(call, is_extended, begins, goes_on);
            }
        }
    }
}

impl Bench {
    fn check_endless(&self, call: Call, is_extended: bool, begins: &str, goes_on: &str) {
        let (hostile, _) = &self.servers[usize::from(is_extended)];
        let (request, count, _) = call.request(is_extended);
        let (pieces, endless) = (vec![begins.into()], goes_on.into());
        hostile.plan(Plan { request, count, pieces, endless, closes: true });
        let pools = Pools::new(1);
        let result = call.run(&cluster_on(&pools, &[hostile.address()], never()));
        let taken = hostile.await_taken();
        let shown = format!("{call:?}, extended: {is_extended}, {begins:?}, {:.20}", goes_on);
        let bound = MANY * BODY_MAX + BUFFERS_BYTES;
        assert!(taken <= bound, "{taken} bytes taken: {shown}");
        match (call, result) {
            (Call::PopAck, result) => assert_eq!(result, Ok(Got::Body(Some(BODY.into())))),
            (Call::Ping, result) => assert_eq!(result, Ok(Got::Pong(false)), "{shown}"),
            (Call::Ack | Call::Release, Err(failed)) => {
                assert_eq!((failed.kind, failed.is_unknown), (ErrorKind::Lost, true), "{shown}");
            }
            (_, Err(failed)) => assert_eq!(failed.kind, ErrorKind::Protocol, "{shown}"),
            (_, Ok(got)) => panic!("{shown}: {got:?}"),
        }
        assert_eq!(pools.counters().idle, 0, "{shown}");
    }
}

/// The first answer on the first connection decides how the server is spoken to.
#[test]
fn a_mutilated_greeting_is_an_old_server_or_an_error() {
    let bench = Bench::new();
    let (hostile, _) = &bench.servers[1];
    let greet = |pieces: Vec<Vec<u8>>, endless: &str, closes| {
        let endless = endless.into();
        hostile.plan(Plan { request: "capabilities", count: 1, pieces, endless, closes });
        let pools = Pools::new(1);
        let cluster = cluster_on(&pools, &[hostile.address()], never());
        let result = Call::Put.run(&cluster);
        let next = Call::Put.run(&cluster_on(&pools, &[hostile.address()], never()));
        assert!(matches!(next, Ok(Got::Ids(_))), "{next:?}");
        result
    };
    let is_local = |id: &str| id.starts_with('k');
    let greeting = honest("capabilities", true, "");
    for at in 0..greeting.len() {
        let (one, two) = (greeting[..at].into(), greeting[at..].into());
        assert_eq!(
            greet(vec![one, two], "", false),
            Ok(Got::Ids(vec!["41".into()])),
            "cut at {at}"
        );
        // It may have died of the word, as an old one would.
        let cut_off = greet(vec![greeting[..at].into()], "", true);
        assert!(matches!(&cut_off, Ok(Got::Ids(ids)) if is_local(&ids[0])), "{at}: {cut_off:?}");
    }
    for old in
        ["CLIENT_ERROR\r\n", "ERROR what\r\n", "SERVER_ERROR no\r\n", "CAPABILITIES x put\r\n"]
    {
        let spoken = greet(vec![old.into()], "", false);
        assert!(matches!(&spoken, Ok(Got::Ids(ids)) if is_local(&ids[0])), "{old}: {spoken:?}");
    }
    for more in TOKENS {
        let doubled = greet(vec![format!("{greeting}{more}").into()], "", false);
        assert_eq!(doubled, Ok(Got::Ids(vec!["41".into()])), "{more:?} belongs to nobody");
    }
    let failed = Err(Failed { kind: ErrorKind::Protocol, is_unknown: false, stored: Vec::new() });
    for token in TOKENS.into_iter().filter(|token| {
        !["CAPABILITIES", "CLIENT_ERROR", "ERROR", "SERVER_ERROR"].contains(&first_word(token))
            && !token.contains("42949")
    }) {
        assert_eq!(greet(vec![token.into()], "", false), failed, "{token:?}");
    }
    assert_eq!(greet(vec!["CAPABILITIES ".into()], "put ", false), failed);
    assert!(hostile.await_taken() <= BUFFERS_BYTES);
}

fn first_word(line: &str) -> &str {
    line.split([' ', '\r', '\n']).next().unwrap_or_default()
}
