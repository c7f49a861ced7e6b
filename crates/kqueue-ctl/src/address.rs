//! Where the server is, as people write it.
//!
//! Must not: resolve names; that happens when it connects.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

const DEFAULT_PORT: &str = "22133";

/// `host[:port]`, `[v6][:port]`, `unix:/path` or `unix:///path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// With its port, as the resolver takes it.
    Tcp(String),
    Unix(PathBuf),
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => Err("a unix socket is unix:/absolute/path".to_owned()),
            };
        }
        if text.is_empty() || text.contains(|c: char| c == '/' || c.is_whitespace()) {
            return Err("an address is host:port or unix:/path".to_owned());
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (text, DEFAULT_PORT),
        };
        if !port.parse::<u16>().is_ok_and(|port| port > 0) || port.starts_with('+') {
            return Err("a port is a number from 1 to 65535".to_owned());
        }
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bracketed {
            Some(host) => host.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '[', ']', '@', ',']),
        };
        match is_host {
            true => Ok(Self::Tcp(format!("{host}:{port}"))),
            false => Err("a host is a name, an IPv4 address, or an IPv6 address in [ ]".to_owned()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host_and_port) => f.write_str(host_and_port),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (text, shown) in [
            ("queue1", "queue1:22133"),
            ("queue1:5", "queue1:5"),
            ("127.0.0.1:22133", "127.0.0.1:22133"),
            ("[::1]", "[::1]:22133"),
            ("[::1]:7", "[::1]:7"),
            ("unix:/run/k.sock", "unix:/run/k.sock"),
            ("unix:///run/k.sock", "unix:/run/k.sock"),
        ] {
            let address = Address::parse(text).map(|address| address.to_string());
            assert_eq!(address.as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            " ",
            "h:",
            "h:0",
            "h:65536",
            "h:+1",
            "h:x",
            ":1",
            "::1",
            "[::1",
            "[h]:1",
            "a b",
            "http://h",
            "unix:",
            "unix:relative",
            "unix://host",
            "a,b",
            "user@h",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
