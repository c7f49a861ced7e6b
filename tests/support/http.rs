//! Requests to an admin port, one connection each.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where an admin port is.
#[derive(Clone, Debug)]
pub enum Http {
    /// On loopback.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// What it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Reads one.
    ///
    /// # Errors
    /// If it breaks off, or is none.
    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let parsed = text.split_once("\r\n\r\n").and_then(|(head, body)| {
            let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let is_whole = length.is_none_or(|length| length == body.len().to_string());
            is_whole.then(|| Self { status, head: head.clone(), body: body.to_owned() })
        });
        parsed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, text.into_owned()))
    }
}

impl Http {
    /// On a unix socket.
    pub fn unix(path: &Path) -> Self {
        Self::Unix(path.to_path_buf())
    }

    /// Sends bytes as they are, and reads until the connection is closed.
    ///
    /// # Errors
    /// If nobody listens, or the connection breaks.
    pub fn try_send(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        match self {
            Self::Tcp(address) => {
                let mut stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(request)?;
                stream.read_to_end(&mut answer)?;
            }
            Self::Unix(path) => {
                let mut stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(request)?;
                stream.read_to_end(&mut answer)?;
            }
        }
        Ok(answer)
    }

    /// One request.
    ///
    /// # Errors
    /// As [`Http::try_send`], and if the answer is none.
    pub fn try_request(&self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Answer::parse(&self.try_send(request.as_bytes())?)
    }

    /// GET.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn get(&self, path: &str) -> Answer {
        self.try_request("GET", path, "").unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// POST.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.try_request("POST", path, body).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Asks until the answer is of this status; returns its body.
    ///
    /// # Panics
    /// If that does not come.
    pub fn wait_for(&self, path: &str, status: u16) -> String {
        let began = Instant::now();
        loop {
            let answer = self.try_request("GET", path, "");
            match answer {
                Ok(answer) if answer.status == status => return answer.body,
                answer => assert!(began.elapsed() < PATIENCE, "{path}: {answer:?}, never {status}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
