//! A small queue server that speaks the extended commands or only Kestrel's, and keeps a log of
//! what it was told.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::{CAPABILITIES, Peer, Scripted};

const ALL_CAPABILITIES: &str = "CAPABILITIES 1.0 put reserve ack release touch bury delay key\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// All of the extended commands that the client knows.
    All,
    /// The first of the extended commands only.
    Extended,
    Kestrel,
}

#[derive(Default)]
struct State {
    next_id: u64,
    /// Ready items by queue and id: a returned one is in its old place.
    ready: HashMap<String, BTreeMap<u64, (Vec<u8>, u32)>>,
    log: Vec<String>,
    waiting: usize,
    put_answer: Option<String>,
    settle_answer: Option<String>,
    is_mute: bool,
    swallows_put: bool,
    /// Ids by queue and key.
    keys: HashMap<(String, String), u64>,
    /// Queue, body and reason.
    buried: Vec<(String, Vec<u8>, Vec<u8>)>,
}

/// Shared by the connections of one model server.
#[derive(Default)]
struct Store {
    state: Mutex<State>,
    changed: Condvar,
}

pub struct Model {
    pub server: Scripted,
    store: Arc<Store>,
}

type Open = Vec<(String, u64, Vec<u8>, u32)>;

impl Model {
    pub fn start(speaks: Speaks) -> Self {
        Self::start_at("127.0.0.1:0", speaks)
    }

    pub fn start_at(address: &str, speaks: Speaks) -> Self {
        let store = Arc::new(Store::default());
        let shared = Arc::clone(&store);
        let server = Scripted::start_at(address, move |peer| serve(peer, &shared, speaks));
        Self { server, store }
    }

    pub fn address(&self) -> &str {
        &self.server.address
    }

    pub fn add(&self, queue: &str, body: &[u8]) -> u64 {
        self.store.put(queue, body.to_vec())
    }

    /// Bodies that are ready, in order.
    pub fn ready(&self, queue: &str) -> Vec<Vec<u8>> {
        let state = self.store.state.lock().unwrap();
        let items = state.ready.get(queue);
        items.map_or_else(Vec::new, |items| items.values().map(|(body, _)| body.clone()).collect())
    }

    /// Request lines so far, with `nth connection` in front.
    pub fn log(&self) -> Vec<String> {
        self.store.state.lock().unwrap().log.clone()
    }

    pub fn logged(&self, word: &str) -> usize {
        self.log().iter().filter(|line| line.split(' ').nth(1) == Some(word)).count()
    }

    /// Blocks until so many connections wait for an item.
    pub fn await_waiting(&self, count: usize) {
        self.store.await_state(|state| state.waiting == count);
    }

    /// Blocks until so many items are ready.
    pub fn await_ready(&self, queue: &str, count: usize) {
        self.store.await_state(|state| state.ready.get(queue).map_or(0, BTreeMap::len) == count);
    }

    /// What was buried, with the reasons.
    pub fn buried(&self) -> Vec<(String, Vec<u8>, Vec<u8>)> {
        self.store.state.lock().unwrap().buried.clone()
    }

    /// From now on every ack, release, bury and touch is answered so (None: done).
    pub fn answer_settling(&self, line: Option<&str>) {
        self.store.state.lock().unwrap().settle_answer = line.map(str::to_owned);
    }

    /// It does what it is told, and answers nothing.
    pub fn mute(&self, is_mute: bool) {
        self.store.state.lock().unwrap().is_mute = is_mute;
    }

    /// It stores the next push, and closes its connection instead of answering.
    pub fn swallow_next_put(&self) {
        self.store.state.lock().unwrap().swallows_put = true;
    }

    /// From now on every push is answered so (None: stored).
    pub fn answer_puts(&self, line: Option<&str>) {
        self.store.state.lock().unwrap().put_answer = line.map(str::to_owned);
    }
}

impl Store {
    fn put(&self, queue: &str, body: Vec<u8>) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.next_id += 1;
        let id = state.next_id;
        state.ready.entry(queue.into()).or_default().insert(id, (body, 0));
        self.changed.notify_all();
        id
    }

    fn give_back(&self, open: impl IntoIterator<Item = (String, u64, Vec<u8>, u32)>) {
        let mut state = self.state.lock().unwrap();
        for (queue, id, body, attempts) in open {
            state.ready.entry(queue).or_default().insert(id, (body, attempts));
        }
        self.changed.notify_all();
    }

    fn take(&self, queues: &[&str], max: usize) -> Open {
        let mut state = self.state.lock().unwrap();
        let mut taken = Vec::new();
        for queue in queues {
            while taken.len() < max
                && let Some(items) = state.ready.get_mut(*queue)
                && let Some((id, (body, attempts))) = items.pop_first()
            {
                taken.push(((*queue).to_owned(), id, body, attempts + 1));
            }
        }
        self.changed.notify_all();
        taken
    }

    fn await_state(&self, is_met: impl Fn(&State) -> bool) {
        let state = self.state.lock().unwrap();
        let patience = Duration::from_secs(30);
        let (_state, timeout) =
            self.changed.wait_timeout_while(state, patience, |state| !is_met(state)).unwrap();
        assert!(!timeout.timed_out(), "the awaited state never came");
    }

    /// Takes items, waiting until `wait_ms` have passed; gives up when the client closes.
    fn take_waiting(&self, queues: &[&str], max: usize, wait_ms: u64, client: &TcpStream) -> Open {
        let end = Instant::now() + Duration::from_millis(wait_ms);
        let mut is_counted = false;
        let taken = loop {
            let taken = self.take(queues, max);
            let now = Instant::now();
            if !taken.is_empty() || now >= end || is_closed(client) {
                break taken;
            }
            let mut state = self.state.lock().unwrap();
            if !is_counted {
                is_counted = true;
                state.waiting += 1;
                self.changed.notify_all();
            }
            let pause = (end - now).min(Duration::from_millis(5));
            drop(self.changed.wait_timeout(state, pause).unwrap());
        };
        if is_counted {
            self.state.lock().unwrap().waiting -= 1;
            self.changed.notify_all();
        }
        taken
    }
}

fn is_closed(client: &TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    let closed = matches!(client.peek(&mut [0]), Ok(0));
    client.set_nonblocking(false).unwrap();
    closed
}

fn serve(peer: &mut Peer, store: &Store, speaks: Speaks) {
    let mut open: Open = Vec::new();
    loop {
        let line = peer.line();
        if line.is_empty() {
            break;
        }
        store.state.lock().unwrap().log.push(format!("{} {}", peer.nth, line.trim_end()));
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let answer = match (speaks, words[0]) {
            (Speaks::All, "capabilities") => ALL_CAPABILITIES.into(),
            (Speaks::Extended, "capabilities") => CAPABILITIES.into(),
            (Speaks::All | Speaks::Extended, "put") => {
                put(peer, store, words[1], words[2], speaks, key_of(&words))
            }
            (Speaks::All | Speaks::Extended, "reserve") => reserve(peer, store, &words, &mut open),
            (Speaks::All | Speaks::Extended, "ack" | "release") => {
                settle(store, &words, &mut open, None)
            }
            (Speaks::All, "touch") => settle(store, &words, &mut open, None),
            (Speaks::All, "bury") => {
                let reason = peer.bytes(words[3].parse().unwrap());
                assert_eq!(peer.bytes(2), b"\r\n");
                settle(store, &words, &mut open, Some(reason))
            }
            (_, "set") => put(peer, store, words[1], words[4], Speaks::Kestrel, None),
            (_, "get") => get(peer, store, words[1], &mut open),
            (_, "stats") => stats(store),
            (_, "version") => b"VERSION test\r\n".to_vec(),
            (_, "flush" | "delete") => {
                store.state.lock().unwrap().ready.remove(words[1]);
                if words[0] == "flush" { b"END\r\n".to_vec() } else { b"DELETED\r\n".to_vec() }
            }
            _ => {
                peer.send("CLIENT_ERROR\r\n");
                break;
            }
        };
        let mut state = store.state.lock().unwrap();
        if matches!(words[0], "put" | "set") && std::mem::take(&mut state.swallows_put) {
            break;
        }
        if !state.is_mute {
            drop(state);
            peer.send(answer);
        }
    }
    store.give_back(open);
}

fn key_of(words: &[&str]) -> Option<String> {
    words.iter().find_map(|word| word.strip_prefix("key=")).map(str::to_owned)
}

fn put(
    peer: &mut Peer,
    store: &Store,
    queue: &str,
    bytes: &str,
    speaks: Speaks,
    key: Option<String>,
) -> Vec<u8> {
    let body = peer.bytes(bytes.parse().unwrap());
    assert_eq!(peer.bytes(2), b"\r\n");
    if let Some(answer) = &store.state.lock().unwrap().put_answer {
        return answer.clone().into_bytes();
    }
    assert!(key.is_none() || speaks == Speaks::All, "a key that the server does not know");
    let known = key.as_ref().and_then(|key| {
        store.state.lock().unwrap().keys.get(&(queue.to_owned(), key.clone())).copied()
    });
    let id = known.unwrap_or_else(|| store.put(queue, body));
    if let Some(key) = key {
        store.state.lock().unwrap().keys.insert((queue.to_owned(), key), id);
    }
    match speaks {
        Speaks::All | Speaks::Extended => format!("STORED {id}\r\n").into_bytes(),
        Speaks::Kestrel => b"STORED\r\n".to_vec(),
    }
}

fn reserve(peer: &Peer, store: &Store, words: &[&str], open: &mut Open) -> Vec<u8> {
    let (max, wait_ms) = (words[1].parse().unwrap(), words[2].parse().unwrap());
    let taken = store.take_waiting(&words[4..], max, wait_ms, peer.stream());
    let mut answer = Vec::new();
    for (queue, id, body, attempts) in &taken {
        let head = format!("ITEM {queue} {id} 0 {attempts} 5 {}\r\n", body.len());
        answer.extend_from_slice(head.as_bytes());
        answer.extend_from_slice(body);
        answer.extend_from_slice(b"\r\n");
    }
    open.extend(taken);
    answer.extend_from_slice(b"END\r\n");
    answer
}

fn settle(store: &Store, words: &[&str], open: &mut Open, reason: Option<Vec<u8>>) -> Vec<u8> {
    if let Some(answer) = &store.state.lock().unwrap().settle_answer {
        return answer.clone().into_bytes();
    }
    let id: u64 = words[2].parse().unwrap();
    let at = open.iter().position(|(queue, held, ..)| queue == words[1] && *held == id);
    let Some(at) = at else { return b"NOT_HELD\r\n".to_vec() };
    if words[0] == "touch" {
        return b"OK\r\n".to_vec();
    }
    let item = open.remove(at);
    if words[0] == "release" {
        store.give_back([item]);
    } else if let Some(reason) = reason {
        let (queue, _, body, _) = item;
        store.state.lock().unwrap().buried.push((queue, body, reason));
    }
    b"OK\r\n".to_vec()
}

fn get(peer: &Peer, store: &Store, key: &str, open: &mut Open) -> Vec<u8> {
    let mut parts = key.split('/');
    let queue = parts.next().unwrap();
    let options: Vec<&str> = parts.collect();
    let wait_ms = options.iter().find_map(|option| option.strip_prefix("t="));
    let oldest = open.iter().position(|(held, ..)| held == queue);
    if options.contains(&"close") || options.contains(&"abort") {
        if let Some(at) = oldest {
            let item = open.remove(at);
            if options.contains(&"abort") {
                store.give_back([item]);
            }
        }
        return b"END\r\n".to_vec();
    }
    let item = if options.contains(&"peek") {
        let state = store.state.lock().unwrap();
        state.ready.get(queue).and_then(|items| items.values().next()).map(|(body, _)| body.clone())
    } else {
        assert!(options.contains(&"open"), "a destructive get: {key}");
        assert!(oldest.is_none(), "two open items of {queue} on one connection");
        let wait_ms = wait_ms.map_or(0, |ms| ms.parse().unwrap());
        let taken = store.take_waiting(&[queue], 1, wait_ms, peer.stream());
        open.extend(taken.iter().cloned());
        taken.into_iter().next().map(|(_, _, body, _)| body)
    };
    let Some(body) = item else { return b"END\r\n".to_vec() };
    let mut answer = format!("VALUE {queue} 0 {}\r\n", body.len()).into_bytes();
    answer.extend_from_slice(&body);
    answer.extend_from_slice(b"\r\nEND\r\n");
    answer
}

fn stats(store: &Store) -> Vec<u8> {
    let state = store.state.lock().unwrap();
    let mut answer = String::from("STAT uptime 1\r\n");
    for (queue, items) in &state.ready {
        answer.push_str(&format!("STAT queue_{queue}_items {}\r\n", items.len()));
    }
    answer.push_str("END\r\n");
    answer.into_bytes()
}
