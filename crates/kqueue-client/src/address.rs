//! Server addresses as people write them.
//!
//! Owns the syntax `host[:port]`, `[v6][:port]`, `unix:///path`, `unix:/path` and comma-separated
//! lists of these. An [`Address`] cannot
//! hold a malformed one. It does not resolve names: that happens at connect time.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

/// The port of Kestrel's memcache protocol, used where an address names none.
pub const DEFAULT_PORT: u16 = 22133;

/// The longest path that fits a socket address on every system we build for, with its terminating
/// NUL.
const UNIX_PATH_BYTES: usize = 103;

/// One server, shown as it was given; cheap to clone. Two spellings of one server are two
/// addresses: results are keyed by spelling.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    given: Arc<str>,
    endpoint: Arc<Endpoint>,
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Address {
    /// Reads one address. Spaces around it are ignored.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with a message that quotes the address and says what is wrong
    /// with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let given = text.trim();
        let endpoint = parse_endpoint(given).map_err(|problem| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("invalid server address {given:?}: {problem}"),
            )
        })?;
        Ok(Self { given: given.into(), endpoint: Arc::new(endpoint) })
    }

    /// Reads a comma-separated list; empty parts (a trailing comma) are ignored, repeated addresses
    /// are kept once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for the first malformed address, or when the list names none.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, Error> {
        let mut list: Vec<Self> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let address = Self::parse(part)?;
            if !list.contains(&address) {
                list.push(address);
            }
        }
        if list.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "the list of servers is empty: name at least one, such as 127.0.0.1:22133".into(),
            ));
        }
        Ok(list)
    }

    /// The address as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.given
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.given)
    }
}

fn parse_endpoint(text: &str) -> Result<Endpoint, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err("it contains a space or a control character");
    }
    if let Some(rest) = text.strip_prefix("unix:") {
        return parse_unix(rest);
    }
    if text.contains('/') {
        return Err("write host:port or unix:///path");
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, tail) = rest.split_once(']').ok_or("the closing ] is missing")?;
        let plain = host.split_once('%').map_or(host, |(plain, _zone)| plain);
        plain.parse::<Ipv6Addr>().map_err(|_| "between [ and ] there must be an IPv6 address")?;
        let port = match tail {
            "" => DEFAULT_PORT,
            _ => parse_port(tail.strip_prefix(':').ok_or("after ] there must be :port")?)?,
        };
        return Ok(Endpoint::Tcp { host: host.into(), port });
    }
    let (host, port) = match text.split_once(':') {
        None => (text, DEFAULT_PORT),
        Some((_, rest)) if rest.contains(':') => {
            return Err("write an IPv6 address as [address]:port");
        }
        Some((host, port)) => (host, parse_port(port)?),
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    if host.contains(['[', ']', '@', '?', '#', '%', '"', '\'', '\\']) {
        return Err("the host contains a character that no host name has");
    }
    Ok(Endpoint::Tcp { host: host.into(), port })
}

/// `rest` is what follows `unix:`: `///path`, `/path` (and the odd but harmless `//path` is
/// refused: it would name a host).
fn parse_unix(rest: &str) -> Result<Endpoint, &'static str> {
    let path = if rest.starts_with("///") { &rest[2..] } else { rest };
    if !path.starts_with('/') || path.starts_with("//") || path == "/" {
        return Err("write a unix socket as unix:///absolute/path");
    }
    if path.len() > UNIX_PATH_BYTES {
        return Err("the path is too long for a unix socket (103 bytes at most)");
    }
    Ok(Endpoint::Unix(Path::new(path).to_path_buf()))
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("the port must be a number from 1 to 65535");
    }
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("the port must be a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp { host: host.into(), port }
    }

    #[test]
    fn reads_every_form() {
        for (text, endpoint) in [
            ("h1", tcp("h1", 22133)),
            (" h1:5 ", tcp("h1", 5)),
            ("127.0.0.1:22133", tcp("127.0.0.1", 22133)),
            ("[::1]", tcp("::1", 22133)),
            ("[fe80::1%eth0]:65535", tcp("fe80::1%eth0", 65535)),
            ("unix:///run/kq.sock", Endpoint::Unix("/run/kq.sock".into())),
            ("unix:/run/kq.sock", Endpoint::Unix("/run/kq.sock".into())),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(*address.endpoint(), endpoint, "{text}");
            assert_eq!(address.to_string(), text.trim());
        }
    }

    #[test]
    fn refuses_and_quotes_what_is_malformed() {
        let long = format!("unix:///{}", "x".repeat(200));
        for text in [
            "",
            " ",
            ":22133",
            "h:",
            "h:0",
            "h:65536",
            "h:+1",
            "h:x",
            "::1",
            "[::1",
            "[::1]x",
            "[h]:1",
            "[::1]:",
            "a b",
            "a\0b",
            "http://h",
            "unix:",
            "unix:relative",
            "unix://host/path",
            "unix:///",
            "user@h",
            &long,
        ] {
            let error = Address::parse(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().contains(&format!("{:?}", text.trim())), "{error}");
        }
    }

    #[test]
    fn a_list_drops_blanks_and_repeats_but_is_never_empty() {
        let list = Address::parse_list("a, b:1,,a,").unwrap();
        assert_eq!(list.iter().map(Address::as_str).collect::<Vec<_>>(), ["a", "b:1"]);
        assert!(Address::parse_list(" , ").is_err());
        assert!(Address::parse_list("a,:1").is_err());
    }
}
