//! What only Thrift asks for: several items at a time, settled by number by whoever knows it.

use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::*;

/// As many as the harness lets a connection hold of a queue.
const OPEN_MAX: usize = 10;

/// Numbers of this run of the server are above it: here they are shown without it.
const BASE: i64 = 1 << 32;

/// Requests and replies as they are, without a wire.
#[derive(Clone, Debug, Default)]
struct Plain(Arc<Mutex<(VecDeque<Request>, Vec<Response>)>>);

impl Codec for Plain {
    fn decode(&mut self, _: &mut BytesMut) -> Result<Option<Request>, Fatal> {
        Ok(self.0.lock().unwrap().0.pop_front())
    }

    fn is_mid_request(&self, _: &BytesMut) -> bool {
        false
    }

    fn encode<'r>(&mut self, response: &'r Response, _: &mut BytesMut) -> Encoded<'r> {
        self.0.lock().unwrap().1.push(response.clone());
        Encoded::default()
    }

    fn closes_on_error(&self) -> bool {
        false
    }
}

/// A broker, a disk that does everything at once, a clock, and connections.
struct Site {
    broker: Broker,
    /// The disk has no space for another file.
    is_full: bool,
    now: Now,
    peers: BTreeMap<u64, (Session, Plain)>,
}

impl Site {
    fn new() -> Self {
        Self::with(ConfigTable::default())
    }

    fn with(table: ConfigTable) -> Self {
        let broker = boot_with(table, &BTreeMap::new());
        Self { broker, is_full: false, now: NOW, peers: BTreeMap::new() }
    }

    /// A request of a connection, which is made if there is none; answers what that connection is told at once.
    fn ask(&mut self, peer: u64, request: Request) -> Vec<Response> {
        let Self { broker, peers, .. } = self;
        let (_, plain) = peers.entry(peer).or_insert_with(|| {
            let access = broker.handle_connect(SessionId(peer));
            let plain = Plain::default();
            (Session::with_codec(SessionId(peer), Box::new(plain.clone()), access), plain)
        });
        plain.0.lock().unwrap().0.push_back(request);
        self.run();
        self.told(peer)
    }

    /// What a connection has been told since it was looked at last.
    fn told(&mut self, peer: u64) -> Vec<Response> {
        std::mem::take(&mut self.peers[&peer].1.0.lock().unwrap().1)
    }

    fn run(&mut self) {
        let mut goes_on = true;
        while std::mem::take(&mut goes_on) {
            for (session, _) in self.peers.values_mut() {
                while session.feed(&mut BytesMut::new()) || session.wants_broker() {
                    self.broker.execute(self.now, session);
                    session.encode(&self.broker.progress(), &mut Output::default());
                    goes_on = true;
                }
            }
            while let Some(job) = self.broker.poll_job(self.now) {
                let is_file = |op: &DiskOp| matches!(op, DiskOp::Prepare { .. });
                let fault = DiskFault { kind: FaultKind::NoSpace, text: "full".into() };
                let fails = self.is_full && job.ops.iter().any(is_file);
                self.broker.handle_done(self.now, job.id, if fails { Err(fault) } else { Ok(()) });
                goes_on = true;
            }
            while let Some(session) = self.broker.poll_event() {
                if let Some((session, _)) = self.peers.get_mut(&session.0) {
                    session.set_ready();
                }
                goes_on = true;
            }
        }
        self.broker.check_invariants();
    }

    fn pass(&mut self, ms: u64) {
        let Now { mono_ms, wall_ms } = self.now;
        self.now = Now { mono_ms: mono_ms + ms, wall_ms: wall_ms + ms };
        self.broker.handle_timeout(self.now);
        self.run();
    }

    /// The connection is gone, whatever it was doing.
    fn leave(&mut self, peer: u64) {
        self.peers.remove(&peer).expect("it was there");
        self.broker.handle_leave(self.now, SessionId(peer));
        self.run();
    }

    fn hang_up(&mut self, peer: u64) {
        self.peers.get_mut(&peer).expect("it is there").0.peer_closed();
        self.run();
    }

    fn put(&mut self, bodies: &[&str]) {
        assert_eq!(self.ask(99, put("q", bodies)), [Response::Count(bodies.len() as u64)]);
    }

    /// Items that a connection gets, numbers apart.
    fn get(&mut self, peer: u64, request: Request) -> (Vec<String>, Vec<i64>) {
        let told = self.ask(peer, request);
        let [response] = &told[..] else { panic!("one answer: {told:?}") };
        items(response)
    }

    /// What is in the queue, which is empty then.
    fn rest(&mut self) -> Vec<String> {
        self.get(98, fetch(u32::MAX, 0, 0)).0
    }

    fn settle(&mut self, peer: u64, ids: &[i64], abort: bool) -> u64 {
        let ids = ids.iter().map(|id| if *id > 0 { id + BASE } else { *id }).collect();
        let told = self.ask(peer, Request::Settle { ids, abort });
        let [Response::Count(count)] = told[..] else { panic!("one number: {told:?}") };
        count
    }
}

fn put(queue: &'static str, bodies: &[&str]) -> Request {
    let bodies = bodies.iter().map(|body| Body::Bytes(Bytes::copy_from_slice(body.as_bytes())));
    Request::PutAll { key: queue.into(), expiry: Expiry::AfterMs(0), bodies: bodies.collect() }
}

fn fetch(max: u32, wait_ms: u32, auto_abort_ms: u32) -> Request {
    Request::Fetch { key: "q".into(), max, wait_ms, auto_abort_ms }
}

fn items(response: &Response) -> (Vec<String>, Vec<i64>) {
    let Response::Fetched(items) = response else { panic!("items: {response:?}") };
    let text = |body: &Bytes| String::from_utf8(body.to_vec()).expect("ascii");
    let number = |id: i64| if id > 0 { id - BASE } else { id };
    items.iter().map(|item| (text(&item.body), number(item.id))).unzip()
}

/// Every queue has this.
fn defaults(change: impl FnOnce(&mut QueueConfig)) -> ConfigTable {
    let mut defaults = QueueConfig::default();
    change(&mut defaults);
    ConfigTable { defaults: defaults.into(), ..ConfigTable::default() }
}

#[test]
fn what_is_fetched_without_a_time_is_gone() {
    let mut site = Site::new();
    site.put(&["a", "b", "c"]);
    assert_eq!(site.get(1, fetch(2, 0, 0)), (vec!["a".into(), "b".into()], vec![0, 0]));
    site.leave(1);
    assert_eq!(site.rest(), ["c"]);
    assert_eq!(site.get(2, fetch(5, 0, 0)).0.len(), 0);
    site.put(&["d"]);
    assert_eq!(site.get(2, fetch(0, 0, 0)).0.len(), 0, "none were asked for");
    assert_eq!(site.rest(), ["d"]);
}

#[test]
fn what_is_fetched_for_a_time_returns_to_its_place_after_it() {
    let mut site = Site::new();
    site.put(&["a", "b", "c"]);
    assert_eq!(site.get(1, fetch(2, 0, 100)), (vec!["a".into(), "b".into()], vec![1, 2]));
    site.pass(99);
    assert_eq!(site.get(2, fetch(9, 0, 1000)), (vec!["c".into()], vec![3]));
    site.pass(1);
    assert_eq!(site.settle(1, &[1, 2], false), 0, "too late");
    assert_eq!(site.settle(1, &[1, 2], true), 0);
    assert_eq!(site.rest(), ["a", "b"]);
    site.pass(1000);
    assert_eq!(site.rest(), ["c"]);
}

#[test]
fn any_connection_settles_by_number_and_a_number_counts_once() {
    let mut site = Site::new();
    site.put(&["a", "b", "c", "d"]);
    assert_eq!(site.get(1, fetch(4, 0, 100)).1, [1, 2, 3, 4]);
    assert_eq!(site.settle(2, &[1, 3, 3, 77, 0, -1], false), 2);
    assert_eq!(site.settle(1, &[1, 3], true), 0);
    assert_eq!(site.settle(2, &[4, 2], true), 2);
    assert_eq!(site.settle(2, &[4, 2], false), 0);
    assert_eq!(site.rest(), ["b", "d"]);
    site.pass(1000);
    assert_eq!(site.rest().len(), 0);
}

#[test]
fn items_outlive_the_connection_that_fetched_them() {
    let mut site = Site::new();
    site.put(&["a", "b"]);
    assert_eq!(site.get(1, fetch(2, 0, 100)).1, [1, 2]);
    site.leave(1);
    assert_eq!(site.rest().len(), 0);
    assert_eq!(site.settle(2, &[2], false), 1);
    site.pass(100);
    assert_eq!(site.rest(), ["a"]);
}

#[test]
fn a_stale_number_does_not_settle_what_the_same_connection_is_collecting() {
    let mut site = Site::new();
    site.put(&["a"]);
    assert_eq!(site.get(1, fetch(1, 0, 100)).1, [1]);
    site.pass(100);
    site.ask(1, fetch(2, 1000, 100));
    assert_eq!(site.settle(2, &[1], false), 0);
    site.pass(1000);
    let (bodies, numbers) = items(&site.told(1)[0]);
    assert_eq!((bodies, numbers), (vec!["a".into()], vec![2]));
}

#[test]
fn a_stale_number_does_not_settle_the_next_delivery_of_its_item() {
    let mut site = Site::new();
    site.put(&["a"]);
    assert_eq!(site.get(1, fetch(1, 0, 100)).1, [1]);
    site.pass(100);
    // The same connection gets it again.
    assert_eq!(site.get(1, fetch(1, 0, 100)).1, [2]);
    assert_eq!(site.settle(2, &[1], true), 0);
    assert_eq!(site.settle(2, &[1], false), 0);
    assert_eq!(site.settle(2, &[2], false), 1);
    site.pass(1000);
    assert_eq!(site.rest().len(), 0);
}

#[test]
fn a_wait_collects_until_there_are_enough_or_its_time_is_over() {
    let mut site = Site::new();
    site.put(&["a"]);
    assert_eq!(site.ask(1, fetch(3, 1000, 0)), []);
    site.put(&["b"]);
    assert_eq!(site.told(1), []);
    site.put(&["c", "d"]);
    assert_eq!(site.told(1).iter().map(items).collect::<Vec<_>>()[0].0, ["a", "b", "c"]);
    assert_eq!(site.ask(1, fetch(3, 1000, 5000)), []);
    site.pass(999);
    assert_eq!(site.told(1), []);
    site.pass(1);
    assert_eq!(site.told(1).iter().map(items).collect::<Vec<_>>()[0].0, ["d"]);
    assert_eq!(site.ask(1, fetch(3, 1000, 0)), []);
    site.pass(1000);
    assert_eq!(site.told(1), [Response::Fetched(vec![])]);
}

#[test]
fn the_time_to_confirm_begins_with_the_reply() {
    // What is only being collected does not return, either: it would be collected twice.
    let table = defaults(|queue| queue.open_transaction_timeout_ms = Some(10));
    let mut site = Site::with(table);
    site.put(&["a"]);
    assert_eq!(site.ask(1, fetch(2, 1000, 100)), []);
    site.pass(500);
    assert_eq!(site.told(1), []);
    site.put(&["b"]);
    assert_eq!(site.told(1).iter().map(items).collect::<Vec<_>>()[0].0, ["a", "b"]);
    site.pass(99);
    assert_eq!(site.rest().len(), 0);
    site.pass(1);
    assert_eq!(site.rest(), ["a", "b"]);
}

#[test]
fn what_nobody_was_told_of_returns_at_once() {
    for timeout_ms in [None, Some(60_000)] {
        for auto_abort_ms in [0, 60_000] {
            let table = defaults(|queue| queue.open_transaction_timeout_ms = timeout_ms);
            let mut site = Site::with(table);
            site.put(&["a", "b"]);
            assert_eq!(site.ask(1, fetch(3, 1000, auto_abort_ms)), []);
            site.leave(1);
            assert_eq!(site.rest(), ["a", "b"]);
            site.put(&["c", "d"]);
            assert_eq!(site.ask(2, fetch(3, 1000, auto_abort_ms)), []);
            site.hang_up(2);
            assert_eq!(site.told(2), [Response::Fetched(vec![])]);
            assert_eq!(site.rest(), ["c", "d"]);
        }
    }
}

#[test]
fn one_call_hands_out_more_than_a_connection_may_hold_if_nothing_is_to_be_confirmed() {
    let mut site = Site::new();
    let names: Vec<String> = (0..25).map(|n| format!("{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    site.put(&names);
    assert_eq!(site.get(1, fetch(u32::MAX, 0, 0)).0, names);
    site.put(&names);
    assert_eq!(site.get(1, fetch(u32::MAX, 1000, 100)).0, names[..OPEN_MAX]);
    assert_eq!(site.get(1, fetch(1, 1000, 100)).0.len(), 0, "it holds all that it may");
    assert_eq!(site.get(1, fetch(1, 1000, 0)).0.len(), 0);
    // There is room again as soon as anybody confirms.
    assert_eq!(site.settle(2, &[1], false), 1);
    assert_eq!(site.get(1, fetch(9, 0, 100)).0, names[OPEN_MAX..=OPEN_MAX]);
    site.pass(100);
    assert_eq!(site.rest(), names[1..]);
}

#[test]
fn one_call_hands_out_ten_thousand_items_at_most() {
    let mut site = Site::new();
    site.put(&["x"; 10_001]);
    assert_eq!(site.get(1, fetch(u32::MAX, 1000, 0)).0.len(), 10_000);
    assert_eq!(site.rest().len(), 1);
}

#[test]
fn what_was_settled_is_synced_soon_although_nobody_puts_anything() {
    let mut site = Site::new();
    site.put(&["a"]);
    assert_eq!(site.get(1, fetch(1, 0, 60_000)).1, [1]);
    // That it was delivered is synced, too.
    site.pass(1000);
    assert_eq!(site.broker.poll_journal_timeout(), None);
    assert_eq!(site.settle(2, &[1], false), 1);
    assert_eq!(site.broker.poll_journal_timeout(), Some(site.now.mono_ms + 1000));
}

#[test]
fn what_was_confirmed_to_make_room_is_told_also_to_one_who_sends_nothing_more() {
    let mut site = Site::new();
    let bodies = ["x"; OPEN_MAX + 2];
    site.put(&bodies);
    assert_eq!(site.ask(1, fetch(u32::MAX, 1000, 0)), []);
    site.hang_up(1);
    assert_eq!(site.told(1).iter().map(items).collect::<Vec<_>>()[0].0.len(), OPEN_MAX);
    assert_eq!(site.rest().len(), 2);
}

#[test]
fn a_deleted_queue_ends_the_wait_and_what_was_collected_of_it_is_gone() {
    for auto_abort_ms in [0, 100] {
        let mut site = Site::new();
        site.put(&["a"]);
        assert_eq!(site.ask(1, fetch(2, 1000, auto_abort_ms)), []);
        let delete = Request::Delete { key: "q".into(), noreply: false };
        assert_eq!(site.ask(2, delete), [Response::Deleted]);
        assert_eq!(site.told(1), [Response::Fetched(vec![])]);
        site.pass(1000);
        assert_eq!(site.rest().len(), 0);
    }
}

#[test]
fn a_server_that_gives_nothing_any_more_ends_a_wait_with_the_next_item() {
    let mut site = Site::new();
    site.put(&["a", "b"]);
    assert_eq!(site.get(2, fetch(1, 0, 5000)).1, [1]);
    assert_eq!(site.ask(1, fetch(3, 1000, 5000)), []);
    assert!(site.broker.set_status(site.now, Status::Quiescent));
    site.run();
    assert_eq!(site.told(1), []);
    assert_eq!(site.settle(2, &[1], true), 1, "that is never refused");
    let (bodies, ids) = items(&site.told(1)[0]);
    assert_eq!((bodies, &ids[..]), (vec!["b".into(), "a".into()], &[2, 3][..]));
    let refused = site.ask(1, fetch(1, 0, 0));
    assert_eq!(refused, [Response::ServerError("the server is QUIESCENT".into())]);
    assert_eq!(site.settle(2, &[2, 3], false), 2);
}

#[test]
fn a_server_that_takes_nothing_refuses_a_put_of_several() {
    let mut site = Site::new();
    assert!(site.broker.set_status(site.now, Status::ReadOnly));
    for bodies in [&["a", "b"][..], &[]] {
        let refused = site.ask(1, put("q", bodies));
        assert_eq!(refused, [Response::ServerError("the server is READONLY".into())]);
    }
    assert_eq!(site.rest().len(), 0);
}

#[test]
fn numbers_of_what_returned_by_itself_are_forgotten() {
    let mut site = Site::new();
    site.put(&["b"]);
    let (_, kept) = site.get(50, fetch(1, 0, 1_000_000));
    site.put(&["a"; OPEN_MAX]);
    for peer in 1000..2000 {
        assert_eq!(site.get(peer, fetch(u32::MAX, 0, 10)).0.len(), OPEN_MAX);
        site.leave(peer);
        site.pass(10);
        assert!(site.broker.handles.len() <= 1024 + 3 * (OPEN_MAX + 1), "{peer}");
    }
    // Forgetting does not touch those that still count.
    assert_eq!(site.settle(3, &kept, false), 1);
    assert_eq!(site.get(1, fetch(u32::MAX, 0, 10)).1[0], 10_002);
}

#[test]
fn numbers_are_of_a_queue_also_where_copies_share_an_item() {
    let mut site = Site::new();
    for queue in ["q+a", "q+b"] {
        let key = queue.into();
        site.ask(1, Request::Fetch { key, max: 1, wait_ms: 0, auto_abort_ms: 0 });
    }
    site.put(&["x"]);
    for (queue, id) in [("q+a", 1), ("q+b", 2)] {
        let got = site
            .get(1, Request::Fetch { key: queue.into(), max: 1, wait_ms: 0, auto_abort_ms: 100 });
        assert_eq!(got, (vec!["x".into()], vec![id]));
    }
    assert_eq!(site.settle(2, &[1], false), 1);
    assert_eq!(site.settle(2, &[2], false), 1);
}

#[test]
fn a_put_ends_with_the_first_refusal_and_is_answered_when_the_disk_has_it() {
    let mut site = Site::with(defaults(|queue| queue.max_item_size = 2));
    assert_eq!(site.ask(1, put("q", &["a", "b", "long", "c"])), [Response::Count(2)]);
    let bodies = vec![Body::TooLarge { bytes: 5000 }, Body::Bytes("c".into())];
    let request = Request::PutAll { key: "q".into(), expiry: Expiry::AfterMs(0), bodies };
    assert_eq!(site.ask(1, request), [Response::Count(0)]);
    assert_eq!(site.ask(1, put("q", &[])), [Response::Count(0)]);
    assert_eq!(site.rest(), ["a", "b"]);
    assert!(matches!(site.ask(1, put("q.q", &["a"]))[..], [Response::ClientError(_)]));
    let (session, plain) = site.peers.get_mut(&1).expect("it is there");
    plain.0.lock().unwrap().0.push_back(put("q", &["a", "b"]));
    session.feed(&mut BytesMut::new());
    site.broker.execute(site.now, session);
    session.encode(&site.broker.progress(), &mut Output::default());
    assert_eq!(site.told(1), [], "nothing is written");
    site.run();
    assert_eq!(site.told(1), [Response::Count(2)]);
}

#[test]
fn a_put_may_be_larger_than_a_segment() {
    let mut site = Site::new();
    let body = "x".repeat(4000);
    let bodies = [&body[..]; 3 * SEGMENT_BYTES as usize / 4000];
    site.put(&bodies);
    assert_eq!(site.rest().len(), bodies.len());
    // Behind it everything is as before.
    assert_eq!(site.ask(99, Request::Version), [Response::Version("1.2.3")]);
    site.is_full = true;
    let told = site.ask(99, put("q", &bodies));
    let [Response::Count(count)] = told[..] else { panic!("one number: {told:?}") };
    assert!(0 < count && count < bodies.len() as u64, "{count}");
    let refused = site.ask(99, put("q", &bodies));
    assert_eq!(refused, [Response::ServerError("out of disk space".into())]);
    assert_eq!(site.rest().len() as u64, count);
}

#[test]
fn items_expire_after_milliseconds() {
    let mut site = Site::new();
    let put = |body: &'static str, ms| Request::PutAll {
        key: "q".into(),
        expiry: Expiry::AfterMs(ms),
        bodies: vec![Body::Bytes(body.into())],
    };
    for (body, ms) in [("soon", 10), ("late", 1000), ("never", 0)] {
        assert_eq!(site.ask(1, put(body, ms)), [Response::Count(1)]);
    }
    site.pass(11);
    assert_eq!(site.get(2, fetch(1, 0, 0)).0, ["late"]);
    site.pass(1_000_000);
    assert_eq!(site.rest(), ["never"]);
}

#[test]
fn a_look_at_a_queue_takes_nothing() {
    let mut table = ConfigTable::default();
    let destinations = Destinations::from_iter([Arc::from(&b"q"[..])]);
    table.aliases.insert((*b"alias").into(), destinations);
    let mut site = Site::with(table);
    let peek = |queue: &'static str| Request::QueueInfo { key: queue.into() };
    assert_eq!(site.ask(1, peek("q")), [Response::QueueInfo(QueueInfo::default().into())]);
    site.put(&["a", "bc"]);
    site.get(2, fetch(1, 0, 100));
    let told = site.ask(1, peek("q"));
    let [Response::QueueInfo(info)] = &told[..] else { panic!("figures: {told:?}") };
    let head = Some(Bytes::from("bc"));
    assert_eq!((&info.head, info.items, info.bytes, info.open_transactions), (&head, 1, 2, 1));
    assert!(matches!(site.ask(1, peek("alias"))[..], [Response::ClientError(_)]));
    assert!(matches!(site.ask(1, peek("+"))[..], [Response::ClientError(_)]));
    assert_eq!(site.rest(), ["bc"]);
}
