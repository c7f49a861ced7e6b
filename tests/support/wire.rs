//! A raw connection: what is sent and what comes back, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection to a daemon.
pub struct Wire {
    reader: BufReader<TcpStream>,
}

impl Wire {
    /// Connects.
    ///
    /// # Panics
    /// If nobody listens.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the daemon accepts connections");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        Self { reader: BufReader::new(stream) }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("the daemon takes what is sent");
    }

    /// Reads exactly `expected`, and nothing else.
    ///
    /// # Panics
    /// If something else comes, showing both.
    pub fn expect(&mut self, expected: &[u8]) {
        let mut got = vec![0; expected.len()];
        let mut filled = 0;
        while filled < got.len() {
            match self.reader.read(&mut got[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => panic!(
                    "waiting for {:?} after {:?}: {error}",
                    text(expected),
                    text(&got[..filled])
                ),
            }
            if got[..filled] != expected[..filled] {
                break;
            }
        }
        got.truncate(filled);
        assert_eq!(text(&got), text(expected));
    }

    /// Sends `request` and expects `reply`.
    pub fn ask(&mut self, request: &[u8], reply: &[u8]) {
        self.send(request);
        self.expect(reply);
    }

    /// Puts one item and expects that it is stored.
    pub fn put(&mut self, queue: &str, body: &[u8]) {
        let mut request = format!("set {queue} 0 0 {}\r\n", body.len()).into_bytes();
        request.extend_from_slice(body);
        request.extend_from_slice(b"\r\n");
        self.ask(&request, b"STORED\r\n");
    }

    /// Sends a get (`key` with its options) and returns the body, or `None` if nothing came.
    pub fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.send(format!("get {key}\r\n").as_bytes());
        self.value()
    }

    /// Reads the reply to a get.
    pub fn value(&mut self) -> Option<Vec<u8>> {
        let line = self.line();
        if line == "END" {
            return None;
        }
        let bytes = line
            .strip_prefix("VALUE ")
            .and_then(|rest| rest.rsplit(' ').next())
            .and_then(|n| n.parse().ok());
        let mut body = vec![0; bytes.unwrap_or_else(|| panic!("VALUE, not {line:?}"))];
        self.reader.read_exact(&mut body).expect("the whole body");
        self.expect(b"\r\nEND\r\n");
        Some(body)
    }

    /// Reads as much as there is place for.
    pub fn read(&mut self, into: &mut [u8]) {
        self.reader.read_exact(into).expect("all of it");
    }

    /// Reads one line, without its end.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).expect("a line");
        assert!(line.ends_with(b"\r\n"), "a whole line, not {:?}", text(&line));
        line.truncate(line.len() - 2);
        text(&line)
    }

    /// The value of a statistic.
    pub fn stat(&mut self, name: &str) -> Option<String> {
        self.send(b"stats\r\n");
        let prefix = format!("STAT {name} ");
        let mut found = None;
        loop {
            let line = self.line();
            if line == "END" {
                return found;
            }
            if let Some(value) = line.strip_prefix(&prefix) {
                found = Some(value.to_owned());
            }
        }
    }

    /// Waits until a statistic has a value.
    ///
    /// # Panics
    /// If that does not happen.
    pub fn await_stat(&mut self, name: &str, value: &str) {
        let began = Instant::now();
        loop {
            let now = self.stat(name);
            if now.as_deref() == Some(value) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{name} is {now:?}, not {value}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Expects that the daemon closes the connection without another byte.
    pub fn expect_close(&mut self) {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(text(&rest), "", "closed without another byte"),
            // Closing with unread input resets the connection.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        self.reader.get_mut().shutdown(Shutdown::Write).expect("half-close");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
