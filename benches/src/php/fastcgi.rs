//! Requests to php-fpm: of the FastCGI specification 1.0 what a responder needs, one request per connection.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

const VERSION: u8 = 1;
const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const RESPONDER: [u8; 8] = [0, 1, 0, 0, 0, 0, 0, 0];
const HEAD_BYTES: usize = 8;

/// A connection.
pub(super) struct Client(UnixStream);

impl Client {
    /// # Errors
    /// Nobody listens.
    pub(super) fn connect(socket: &Path) -> io::Result<Self> {
        UnixStream::connect(socket).map(Self)
    }

    /// What the script writes, with its headers.
    ///
    /// # Errors
    /// The connection broke. A record that is none.
    pub(super) fn get(&mut self, parameters: &[(&str, &str)]) -> io::Result<String> {
        let mut request = Vec::new();
        append(&mut request, BEGIN_REQUEST, &RESPONDER);
        let mut pairs = Vec::new();
        for (name, value) in parameters {
            for text in [name, value] {
                // The long form of a length is always allowed.
                pairs.extend_from_slice(&(text.len() as u32 | 1 << 31).to_be_bytes());
            }
            pairs.extend_from_slice(name.as_bytes());
            pairs.extend_from_slice(value.as_bytes());
        }
        append(&mut request, PARAMS, &pairs);
        append(&mut request, PARAMS, &[]);
        append(&mut request, STDIN, &[]);
        self.0.write_all(&request)?;
        let mut said = Vec::new();
        loop {
            let mut head = [0; HEAD_BYTES];
            self.0.read_exact(&mut head)?;
            let [VERSION, kind, _, _, long, short, padding, _] = head else {
                return Err(io::Error::other("not a FastCGI record"));
            };
            let content_bytes = usize::from(u16::from_be_bytes([long, short]));
            let mut content = vec![0; content_bytes + usize::from(padding)];
            self.0.read_exact(&mut content)?;
            match kind {
                STDOUT => said.extend_from_slice(&content[..content_bytes]),
                END_REQUEST => return Ok(String::from_utf8_lossy(&said).into_owned()),
                _ => {}
            }
        }
    }
}

/// A record of the only request that there is.
fn append(request: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let [long, short] =
        u16::try_from(content.len()).expect("few and short parameters").to_be_bytes();
    request.extend_from_slice(&[VERSION, kind, 0, 1, long, short, 0, 0]);
    request.extend_from_slice(content);
}
