//! A bare echo server: one thread, epoll, what comes goes back. No server that does something can be faster on this machine, so it is the limit.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

const BACKLOG_EVENTS: usize = 256;
const LISTENER: u64 = u64::MAX;

/// A process of its own, so that what it costs is told apart from the generator.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    port: u16,
}

/// Serves until it is ended.
pub(crate) fn serve(args: &Args) -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), flags)?;
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Vec::with_capacity(BACKLOG_EVENTS);
    loop {
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            match event.data.u64() {
                LISTENER => {
                    while let Ok((stream, _)) = listener.accept() {
                        stream.set_nonblocking(true)?;
                        let number = std::os::fd::AsRawFd::as_raw_fd(&stream) as usize;
                        let data = epoll::EventData::new_u64(number as u64);
                        epoll::add(&epoll, stream.as_fd(), data, flags)?;
                        if connections.len() <= number {
                            connections.resize_with(number + 1, || None);
                        }
                        connections[number] = Some(stream);
                    }
                }
                number => echo(&mut connections[number as usize], &mut buffer),
            }
        }
    }
}

fn echo(connection: &mut Option<TcpStream>, buffer: &mut [u8]) {
    while let Some(stream) = connection {
        match stream.read(buffer) {
            // A request of the benchmarks always fits into the socket's buffer.
            Ok(bytes @ 1..) if stream.write_all(&buffer[..bytes]).is_ok() => {
                if bytes < buffer.len() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            _ => *connection = None,
        }
    }
}
