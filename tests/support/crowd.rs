//! Connections by the thousand: descriptors and source addresses for them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// Descriptors that tests in the same process need besides.
const KEPT: u64 = 1500;

/// Raises the limit of open files as far as that is permitted; says how many connections this process may hold.
pub fn open_files() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the limit");
    usize::try_from(maximum.unwrap_or(u64::MAX).saturating_sub(KEPT)).unwrap_or(usize::MAX)
}

/// The number in the environment variable, or `usual`: how much of it a test does.
///
/// # Panics
/// If the variable is set and is no number.
pub fn scale(variable: &str, usual: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => usual,
    }
}

/// A connection from `127.0.0.<source>`: one source address has ports for some ten thousand.
///
/// # Errors
/// What the system says.
pub fn connect_from(source: u8, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // Ports of connections that have just ended may be taken again.
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0)).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}
