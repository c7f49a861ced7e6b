//! Any bytes, in any cut, as a server's answer to one call of the client: over a real socket, because that is how the client is used.
//!
//! Checked: it ends, without a panic; the cut makes no difference to what comes of it; what is given out was in the bytes; and the connection is used
//! again only if the bytes are one whole answer and nothing else.
//!
//! Input: what is called and which commands the server knows (one byte), how long the pieces are (one byte), then what the server says before it
//! closes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::BytesMut;
use kqueue_client::{Address, Cluster, Held, NeverInterrupted, Options, Pools, RetryMode};
use kqueue_proto::client::{Reply, ReplyDecoder, ReplyLimits};

/// The longest body that is taken.
const BODY_MAX: usize = 4096;
/// Asked for at once.
const MANY: u32 = 3;

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Put,
    PutMany,
    Reserve,
    ReserveMany,
    Ack,
    Peek,
    Size,
    Stats,
    Ping,
    /// The first answer on a connection.
    Greet,
}

const CALLS: [Call; 10] = [
    Call::Put,
    Call::PutMany,
    Call::Reserve,
    Call::ReserveMany,
    Call::Ack,
    Call::Peek,
    Call::Size,
    Call::Stats,
    Call::Ping,
    Call::Greet,
];

/// What the server is to do: answer the request that begins so, in these pieces, when `count` of them have come.
#[derive(Default)]
struct Plan {
    is_extended: bool,
    request: &'static str,
    count: usize,
    pieces: Vec<Vec<u8>>,
    is_over: bool,
}

/// A server for one input.
struct Server {
    path: PathBuf,
    address: Address,
    plan: Arc<Mutex<Plan>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let nth = LAST.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("kqueue-fuzz-{}-{nth}.sock", std::process::id()));
        // A socket of a process that had this number and is gone.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        let address = Address::parse(&format!("unix://{}", path.display())).expect("a path");
        let plan: Arc<Mutex<Plan>> = Arc::default();
        let shared = Arc::clone(&plan);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.lock().expect("nobody panics with it").is_over {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { path, address, plan, acceptor: Some(acceptor) }
    }

    fn plan(&self, plan: Plan) {
        *self.plan.lock().expect("nobody panics with it") = plan;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.plan(Plan { is_over: true, ..Plan::default() });
        // Wakes it up.
        let _ = UnixStream::connect(&self.path);
        let _ = self.acceptor.take().map(JoinHandle::join);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One connection.
fn serve(stream: &UnixStream, plan: &Mutex<Plan>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    let mut came = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let body = match words[0] {
            "put" => words[2].parse::<u64>().ok()? + 2,
            "set" => words[4].parse::<u64>().ok()? + 2,
            _ => 0,
        };
        reader.by_ref().take(body).read_to_end(&mut Vec::new()).ok()?;
        let plan = plan.lock().ok()?;
        if !line.starts_with(plan.request) {
            writer.write_all(honest(&words, plan.is_extended).as_bytes()).ok()?;
            continue;
        }
        came += 1;
        if came == plan.count {
            for piece in &plan.pieces {
                writer.write_all(piece).ok()?;
                thread::yield_now();
            }
            drop(plan);
            stream.shutdown(Shutdown::Write).ok()?;
            reader.read_to_end(&mut Vec::new()).ok()?;
            return None;
        }
    }
}

fn honest(words: &[&str], is_extended: bool) -> &'static str {
    match words[0] {
        "capabilities" if is_extended => "CAPABILITIES fuzz put reserve ack release\r\n",
        "put" => "STORED 1\r\n",
        "set" => "STORED\r\n",
        "reserve" => "ITEM q 7 0 1 5 1\r\nx\r\nEND\r\n",
        "ack" | "release" => "OK\r\n",
        "get" if words[1].ends_with("open") => "VALUE q 0 1\r\nx\r\nEND\r\n",
        "get" => "END\r\n",
        _ => "CLIENT_ERROR\r\n",
    }
}

/// How the request begins whose answer is the input, and how many of them are to come.
fn request(call: Call, is_extended: bool) -> (&'static str, usize) {
    let put = if is_extended { "put" } else { "set" };
    match call {
        Call::Put => (put, 1),
        Call::PutMany => (put, MANY as usize),
        Call::Reserve | Call::ReserveMany if is_extended => ("reserve", 1),
        Call::Reserve | Call::ReserveMany => ("get q/open", 1),
        Call::Ack if is_extended => ("ack", 1),
        Call::Ack => ("get q/close", 1),
        Call::Peek => ("get q/peek", 1),
        Call::Size | Call::Stats => ("stats", 1),
        Call::Ping => ("version", 1),
        Call::Greet => ("capabilities", 1),
    }
}

/// What came of a call, in words, and the connections that are kept.
fn run(
    server: &Server,
    call: Call,
    is_extended: bool,
    pieces: Vec<Vec<u8>>,
) -> (Result<Vec<Vec<u8>>, String>, u64) {
    let (request, count) = request(call, is_extended);
    server.plan(Plan { is_extended, request, count, pieces, is_over: false });
    let options = Options {
        timeout: Duration::from_secs(60),
        retries: 0,
        retry_mode: RetryMode::Never,
        max_body_bytes: BODY_MAX,
        // What a Kestrel has more of is not asked for.
        pool_max_connections: 1,
        ..Options::default()
    };
    let pools = Pools::new(1);
    let cluster = Cluster::new(pools.clone(), vec![server.address.clone()], options);
    let cluster = cluster.expect("sane options");
    let result = give_out(call, &cluster);
    (result, pools.counters().idle)
}

fn give_out(call: Call, cluster: &Cluster) -> Result<Vec<Vec<u8>>, String> {
    let reserve = |max| {
        let (wait, lease) = (Duration::ZERO, Duration::ZERO);
        cluster.reserve(&[b"q"], max, wait, lease, &NeverInterrupted)
    };
    let bodies = |held: &[Held]| held.iter().map(|held| held.body().to_vec()).collect();
    let shown = |error: kqueue_client::Error| format!("{:?} {}", error.kind(), error.message());
    Ok(match call {
        Call::Put | Call::Greet => {
            cluster.put(b"q", b"x", 0).map(|id| vec![id.into()]).map_err(shown)?
        }
        Call::PutMany => {
            let items = (0..MANY).map(|key| (key, "x"));
            // What is behind the last answer may be seen or not; it changes nothing for what is stored.
            let stored = cluster.put_many(b"q", 0, items).unwrap_or_else(|error| error.stored);
            stored.into_iter().map(|(_, id)| id.into()).collect()
        }
        Call::Reserve => bodies(&reserve(1).map_err(shown)?),
        Call::ReserveMany => bodies(&reserve(MANY).map_err(shown)?),
        Call::Ack => {
            let mut held = reserve(1).map_err(shown)?;
            held[0].ack().map(|()| Vec::new()).map_err(shown)?
        }
        Call::Peek => {
            cluster.peek(b"q").map_err(shown)?.map(|body| body.to_vec()).into_iter().collect()
        }
        Call::Size => {
            cluster.size(b"q").map_err(shown)?;
            Vec::new()
        }
        Call::Stats => {
            let stats = cluster.stats().remove(0).stats.map_err(shown)?;
            stats.into_iter().flat_map(|(name, value)| [name.to_vec(), value.to_vec()]).collect()
        }
        Call::Ping => {
            // The time that it took is not to be compared.
            let is_alive = cluster.ping()[0].1.is_some();
            if is_alive { Vec::new() } else { return Err("no answer".into()) }
        }
    })
}

/// In how many of the bytes there are `count` whole answers, whatever they answer; `None`: there are not so many.
fn answered_bytes(bytes: &[u8], count: usize) -> Option<usize> {
    let limits = ReplyLimits { body_bytes: BODY_MAX, ..ReplyLimits::default() };
    let mut decoder = ReplyDecoder::new(limits);
    let mut buf = BytesMut::from(bytes);
    let mut answers = 0;
    while let Ok(Some(reply)) = decoder.decode(&mut buf) {
        let goes_on =
            matches!(reply, Reply::Value { .. } | Reply::Item { .. } | Reply::Stat { .. });
        answers += usize::from(!goes_on);
        if answers == count {
            return Some(bytes.len() - buf.len());
        }
    }
    None
}

/// The target.
///
/// # Panics
/// If something does not hold.
pub fn client(input: &[u8]) {
    let &[choice, step, ref bytes @ ..] = input else { return };
    let call = CALLS[usize::from(choice >> 1) % CALLS.len()];
    let is_extended = choice & 1 == 1;
    let server = Server::start();
    let (whole, idle) = run(&server, call, is_extended, vec![bytes.to_vec()]);
    let pieces = bytes.chunks(usize::from(step).max(1)).map(<[u8]>::to_vec);
    let (cut, _) = run(&server, call, is_extended, pieces.collect());
    let (_, count) = request(call, is_extended);
    let answered = answered_bytes(bytes, count);
    let has_more = answered.is_some_and(|answered| answered < bytes.len());
    let is_same = match (&whole, &cut) {
        // What is too much may come too late to be seen, and is then the answer to what follows.
        _ if call == Call::Greet && has_more => true,
        // An id of our own is another one every time.
        (Ok(whole), Ok(cut)) if matches!(call, Call::Put | Call::PutMany | Call::Greet) => {
            whole.len() == cut.len()
        }
        _ => whole == cut,
    };
    assert!(is_same, "{whole:?} at once, {cut:?} in pieces");
    for given in whole.iter().flatten() {
        let is_local = given.starts_with(b"k");
        let is_there = given.is_empty() || bytes.windows(given.len()).any(|part| part == given);
        let is_honest = call == Call::Greet && *given == b"1";
        // An id may have zeros in front of it.
        assert!(is_there || is_local || is_honest, "{} was not in it", given.escape_ascii());
    }
    let may_be_kept = match call {
        // Other requests follow, which are answered as they should be.
        Call::Reserve | Call::ReserveMany | Call::Greet => true,
        _ => answered == Some(bytes.len()),
    };
    assert!(idle == 0 || may_be_kept, "{idle} connections kept, {whole:?}");
}
