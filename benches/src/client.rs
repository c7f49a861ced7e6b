//! The least that a client needs: one connection, bytes out, the end of the reply in.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::server::Server;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("nodelay");
        Self { stream, buffer: vec![0; 2 * 1024 * 1024] }
    }

    pub(crate) fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).expect("the server takes requests");
    }

    /// Reads until the reply ends like this; what is measured answers one request at a time.
    pub(crate) fn receive(&mut self, end: &[u8]) -> &[u8] {
        let mut filled = 0;
        while !self.buffer[..filled].ends_with(end) {
            let count = self.stream.read(&mut self.buffer[filled..]).expect("the server answers");
            assert!(count > 0, "the server closed the connection");
            filled += count;
        }
        &self.buffer[..filled]
    }

    /// A request that is answered with `STORED`, and perhaps an id.
    pub(crate) fn put_so(&mut self, request: &[u8]) {
        self.send(request);
        let reply = self.receive(b"\r\n");
        assert!(reply.starts_with(b"STORED"), "{}", String::from_utf8_lossy(reply));
    }

    /// As many replies, each of which says `STORED`.
    pub(crate) fn receive_stored(&mut self, count: usize) {
        let mut seen = 0;
        let mut filled = 0;
        while seen < count {
            let bytes = self.stream.read(&mut self.buffer[filled..]).expect("the server answers");
            assert!(bytes > 0, "the server closed the connection");
            filled += bytes;
            let is_line_end = |byte: &&u8| **byte == b'\n';
            seen = self.buffer[..filled].iter().filter(is_line_end).count();
        }
        let mut lines = self.buffer[..filled].split(|&byte| byte == b'\n');
        assert!(lines.all(|line| line.is_empty() || line.starts_with(b"STORED")), "all are stored");
    }

    /// Until the server has closed.
    pub(crate) fn wait_for_end(&mut self) {
        let count = self.stream.read(&mut self.buffer).expect("the server closes");
        assert_eq!(count, 0, "nothing comes behind the last reply");
    }
}

/// A figure of our server's statistics.
pub(crate) fn stat(server: &Server, name: &str) -> f64 {
    let mut client = Client::connect(server.address);
    client.send(b"stats\r\n");
    let reply = String::from_utf8_lossy(client.receive(b"END\r\n")).into_owned();
    let prefix = format!("STAT {name} ");
    let value = reply.lines().find_map(|line| line.strip_prefix(&prefix));
    value.and_then(|value| value.trim().parse().ok()).expect("a statistic of our server")
}

/// Empties every queue of our server.
pub(crate) fn flush_all(server: &Server) {
    let mut client = Client::connect(server.address);
    client.send(b"flush_all\r\n");
    client.receive(b"\r\n");
}
