//! `kqueuectl`: what an operator or a script does with a queue server.
//!
//! One connection, one request at a time, except where many items are put. Says what it did on standard output, as text for people or as JSON; complaints
//! and progress go to standard error. The wire's syntax is `kqueue-proto`'s.

mod address;
mod cli;
mod connection;
mod error;
mod figures;
mod format;
mod generate;
mod output;
mod program;
mod put;
mod queues;
mod server;
mod status;
mod take;
mod top;

use std::process::ExitCode;

use clap::Parser;

use crate::address::Address;
use crate::cli::{Arguments, Command};
use crate::error::{Error, Result};
use crate::output::Output;
use crate::server::Server;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = Output::new(arguments.json);
    let result = run(&arguments, &mut out).and_then(|()| out.flush());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever closed the pipe has read enough.
        Err(Error::PipeClosed) => ExitCode::SUCCESS,
        Err(error) => {
            // What was done before it is shown before it.
            let _ = out.flush();
            eprintln!("kqueuectl: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: &Arguments, out: &mut Output) -> Result<()> {
    if let Command::Generate { what } = &arguments.command {
        return generate::generate(what, out);
    }
    let address = Address::parse(&arguments.server)
        .map_err(|error| Error::Usage(format!("server {:?}: {error}", arguments.server)))?;
    let connect = || Server::connect(&address, arguments.timeout);
    match &arguments.command {
        Command::Put(put) => put::put(connect, put, out),
        Command::Get(get) => take::get(&mut connect()?, get, out),
        Command::Reserve(reserve) => take::reserve(&mut connect()?, reserve, out),
        Command::Peek { queue } => take::peek(&mut connect()?, queue, out),
        Command::Bury(bury) => take::bury(&mut connect()?, bury, out),
        Command::Browse(browse) => queues::browse(&mut connect()?, browse, out),
        Command::Kick(kick) => queues::kick(&mut connect()?, kick, out),
        Command::Purge(purge) => queues::purge(connect, purge, &address, out),
        Command::Delete(delete) => queues::delete(connect, delete, &address, out),
        Command::Pause { queue } => queues::pause(&mut connect()?, queue, out),
        Command::Resume { queue } => queues::resume(&mut connect()?, queue, out),
        Command::Stats(stats) => figures::stats(&mut connect()?, stats, out),
        Command::Top(top) => top::top(&mut connect()?, top, out),
        Command::Status { status } => status::status(&mut connect()?, *status, out),
        Command::Drain(drain) => status::drain(&mut connect()?, drain, out),
        Command::Ping => status::ping(&address, arguments.timeout, out),
        Command::Generate { .. } => Ok(()),
    }
}
