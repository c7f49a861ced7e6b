//! Clients of several kinds that load a daemon until it ends, and tell a [`Ledger`] what they know.
//!
//! Invariant: whatever a client is about to do is in the ledger before the first byte is sent, and what it was told is there right after the last byte came.
//! Must not: judge; the ledger does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Wire;
use crate::dice::{Dice, body};
use crate::ledger::{KEPT, Ledger, MASTER, PLAIN, QUEUES};

/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who takes from which queue, and how. Nobody takes from `kept`.
const CONSUMERS: [(usize, Manner); 8] = [
    (PLAIN, Manner::Plain),
    (1, Manner::Open),
    (1, Manner::Open),
    (2, Manner::Reserve),
    (2, Manner::Reserve),
    (MASTER, Manner::Reserve),
    (MASTER + 1, Manner::Open),
    (MASTER + 2, Manner::Reserve),
];

/// So many of the consumers do nothing in a round.
const CONSUMERS_AWAY_PERCENT: u64 = 50;

#[derive(Clone, Copy)]
enum Manner {
    /// `get`
    Plain,
    /// `get …/open`, `/close`, `/abort`
    Open,
    /// `reserve`, `ack`, `release`
    Reserve,
}

/// A ledger that many clients write.
#[derive(Clone, Default)]
pub struct Load {
    shared: Arc<(Mutex<Ledger>, Condvar)>,
    /// Clients that have not ended.
    at_work: Arc<AtomicUsize>,
}

/// The clients of one round.
pub struct Clients {
    load: Load,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// The ledger.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.0.lock().expect("no client panics while it writes")
    }

    /// Makes the sub-queues.
    pub fn prepare(&self, address: SocketAddr) {
        let mut wire = Wire::connect(address);
        for queue in &QUEUES[MASTER + 1..] {
            assert_eq!(wire.get(queue), None);
        }
        // Carries what was recorded before it to the disk.
        wire.put("prepared", b"x");
        assert_eq!(wire.get("prepared").as_deref(), Some(&b"x"[..]));
    }

    /// Starts `producers` producers, and consumers of some kinds: what the others leave is there when the daemon starts again.
    pub fn start(&self, address: SocketAddr, producers: usize, dice: &mut Dice) -> Clients {
        let mut threads = Vec::new();
        for _ in 0..producers {
            threads.push(self.spawn(address, dice, Client::produce));
        }
        for (queue, manner) in CONSUMERS {
            if dice.percent(CONSUMERS_AWAY_PERCENT) {
                continue;
            }
            threads.push(self.spawn(address, dice, move |client| match manner {
                Manner::Plain => client.take_plainly(queue),
                Manner::Open => client.take_reliably(queue),
                Manner::Reserve => client.take_leases(queue),
            }));
        }
        Clients { load: self.clone(), threads }
    }

    fn spawn(
        &self,
        address: SocketAddr,
        dice: &mut Dice,
        work: impl FnOnce(&mut Client) -> io::Result<()> + Send + 'static,
    ) -> JoinHandle<()> {
        let (load, dice) = (self.clone(), Dice::new(dice.number()));
        self.at_work.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            let worked = Client::connect(address, load.clone(), dice)
                .and_then(|mut client| work(&mut client));
            // That the daemon ended is what a client waits for; that it does not answer is not.
            load.change(|ledger| {
                load.at_work.fetch_sub(1, Ordering::SeqCst);
                if worked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    ledger.complain("a client waited for an answer in vain".into());
                }
            });
        })
    }

    fn change<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        let result = work(&mut self.ledger());
        self.shared.1.notify_all();
        result
    }

    /// Waits until so many more puts and removals have been acknowledged; that this does not come is something that must not be.
    pub fn wait_for(&self, more: u64) {
        let ledger = self.ledger();
        let goal = ledger.acknowledged() + more;
        let is_below = |ledger: &mut Ledger| {
            ledger.acknowledged() < goal
                && ledger.complaints().is_empty()
                && self.at_work.load(Ordering::SeqCst) > 0
        };
        let (mut ledger, _) =
            self.shared.1.wait_timeout_while(ledger, PATIENCE, is_below).expect("not poisoned");
        if is_below(&mut ledger) || ledger.acknowledged() < goal {
            ledger.complain("nothing is acknowledged any more".into());
        }
    }

    /// Empties all queues, which nobody else may use meanwhile. Ids rise in every queue.
    pub fn drain(&self, address: SocketAddr) {
        let dice = Dice::new(0);
        let mut client = Client::connect(address, self.clone(), dice).expect("it listens");
        for (queue, name) in QUEUES.iter().enumerate() {
            let mut last_id = 0;
            loop {
                let items = client.reserve(queue, 100, 0).expect("it answers");
                if items.is_empty() {
                    let left = Wire::connect(address).stat(&format!("queue_{name}_items"));
                    let left = left.filter(|left| left != "0");
                    let Some(left) = left else { break };
                    let text = format!("no item for a reserve, and {left} wait in {name}");
                    self.change(|ledger| ledger.complain(text));
                }
                for &(_, id) in &items {
                    if id <= last_id {
                        let text = format!("out of order, in {name}: {last_id}, {id}");
                        self.change(|ledger| ledger.complain(text));
                    }
                    last_id = id;
                }
                client.acknowledge(queue, &items).expect("it answers");
            }
        }
    }
}

impl Clients {
    /// Waits for the end of all clients; their daemon has ended or will.
    pub fn end_round(self, is_clean: bool) {
        for thread in self.threads {
            thread.join().expect("a client does not panic");
        }
        self.load.ledger().end_round(is_clean);
    }
}

struct Client {
    reader: BufReader<TcpStream>,
    load: Load,
    dice: Dice,
}

impl Client {
    fn connect(address: SocketAddr, load: Load, dice: Dice) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(stream), load, dice })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    /// A body whose length ends `line`, and the line's end behind it.
    fn body(&mut self, line: &str) -> io::Result<Vec<u8>> {
        let bytes = line.rsplit(' ').next().and_then(|word| word.parse().ok());
        let Some(bytes) = bytes else { return Err(self.unexpected(line)) };
        let mut body = vec![0; bytes];
        self.reader.read_exact(&mut body)?;
        match self.line()?.as_str() {
            "" => Ok(body),
            other => Err(self.unexpected(other)),
        }
    }

    fn expect(&mut self, expected: &str) -> io::Result<()> {
        match self.line()? {
            line if line == expected => Ok(()),
            line => Err(self.unexpected(&line)),
        }
    }

    /// A reply that must not be, unless the server is stopping.
    fn unexpected(&self, line: &str) -> io::Error {
        if !line.starts_with("SERVER_ERROR") {
            self.load.change(|ledger| ledger.complain(format!("unexpected reply: {line}")));
        }
        io::ErrorKind::InvalidData.into()
    }

    fn produce(&mut self) -> io::Result<()> {
        loop {
            let queue = match self.dice.below(16) {
                0..=3 => PLAIN,
                4..=6 => 1,
                7..=9 => 2,
                10 => KEPT,
                _ => MASTER,
            };
            let extended = self.dice.percent(50);
            let (number, sent_at) = self.load.change(|ledger| ledger.will_put(queue));
            let (body, name) = (body(number), QUEUES[queue]);
            let mut request = match extended {
                true => format!("put {name} {}\r\n", body.len()).into_bytes(),
                false => format!("set {name} 0 0 {}\r\n", body.len()).into_bytes(),
            };
            request.extend_from_slice(&body);
            request.extend_from_slice(b"\r\n");
            self.send(&request)?;
            let reply = self.line()?;
            let id = reply.strip_prefix("STORED ").and_then(|id| id.parse().ok());
            if id.is_some() == extended && reply.starts_with("STORED") {
                self.load.change(|ledger| ledger.stored(number, id, sent_at));
            } else {
                self.load.change(|ledger| ledger.refused(number, &reply));
                return Err(self.unexpected(&reply));
            }
        }
    }

    fn take_plainly(&mut self, queue: usize) -> io::Result<()> {
        loop {
            let taken = self.get(queue, "t=60000");
            if taken.is_err() {
                self.load.change(Ledger::unanswered);
            }
            if let Some(number) = taken? {
                self.load.change(|ledger| ledger.removed(queue, number));
            }
        }
    }

    fn take_reliably(&mut self, queue: usize) -> io::Result<()> {
        loop {
            let mut held = self.get(queue, "open/t=60000")?;
            while let Some(number) = held.take() {
                match self.dice.below(8) {
                    0 => {
                        self.load.change(|ledger| ledger.returns(queue, number));
                        self.get(queue, "abort")?;
                    }
                    1..=2 => {
                        self.load.change(|ledger| ledger.removes(queue, number));
                        self.get(queue, "close")?;
                        self.load.change(|ledger| ledger.removed(queue, number));
                    }
                    _ => {
                        self.load.change(|ledger| ledger.removes(queue, number));
                        held = self.get(queue, "close/open/t=60000")?;
                        self.load.change(|ledger| ledger.removed(queue, number));
                    }
                }
            }
        }
    }

    /// The number of the item that a get with these options brings.
    fn get(&mut self, queue: usize, options: &str) -> io::Result<Option<u64>> {
        self.send(format!("get {}/{options}\r\n", QUEUES[queue]).as_bytes())?;
        let line = self.line()?;
        if line == "END" {
            return Ok(None);
        }
        if !line.starts_with("VALUE ") {
            return Err(self.unexpected(&line));
        }
        let body = self.body(&line)?;
        self.expect("END")?;
        let number = self.load.change(|ledger| ledger.delivered(queue, &body, None));
        // Who was handed nonsense stops.
        number.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn take_leases(&mut self, queue: usize) -> io::Result<()> {
        loop {
            let max = 1 + self.dice.below(4);
            let mut items = self.reserve(queue, max, 60_000)?;
            if let Some(&(number, id)) = items.first()
                && self.dice.percent(15)
            {
                items.remove(0);
                self.load.change(|ledger| ledger.returns(queue, number));
                self.send(format!("release {} {id}\r\n", QUEUES[queue]).as_bytes())?;
                self.expect("OK")?;
            }
            self.acknowledge(queue, &items)?;
        }
    }

    /// Numbers and ids of what was reserved.
    fn reserve(&mut self, queue: usize, max: u64, wait_ms: u64) -> io::Result<Vec<(u64, u64)>> {
        self.send(format!("reserve {max} {wait_ms} 0 {}\r\n", QUEUES[queue]).as_bytes())?;
        let mut items = Vec::new();
        loop {
            let line = self.line()?;
            if line == "END" {
                return Ok(items);
            }
            let words: Vec<&str> = line.split(' ').collect();
            let (["ITEM", name, id, _, attempts, _, _], true) = (&words[..], words.len() == 7)
            else {
                return Err(self.unexpected(&line));
            };
            let (Ok(id), Ok(1u64..), true) = (id.parse(), attempts.parse(), *name == QUEUES[queue])
            else {
                return Err(self.unexpected(&line));
            };
            let body = self.body(&line)?;
            let number = self.load.change(|ledger| ledger.delivered(queue, &body, Some(id)));
            items.extend(number.map(|number| (number, id)));
        }
    }

    fn acknowledge(&mut self, queue: usize, items: &[(u64, u64)]) -> io::Result<()> {
        let mut requests = String::new();
        for (number, id) in items {
            self.load.change(|ledger| ledger.removes(queue, *number));
            requests.push_str(&format!("ack {} {id}\r\n", QUEUES[queue]));
        }
        self.send(requests.as_bytes())?;
        for (number, _) in items {
            self.expect("OK")?;
            self.load.change(|ledger| ledger.removed(queue, *number));
        }
        Ok(())
    }
}
