//! `kqueuectl`: what an operator does with a queue server, from a terminal or a script. See its help.
//!
//! `cli.rs` is the command line, one file per group of commands runs it, `show.rs` and `stats.rs` know how things look, `connection.rs` talks to the server.

mod browse;
mod cli;
mod connection;
mod context;
mod error;
mod generate;
mod items;
mod queues;
mod reserve;
mod server;
mod show;
mod stats;
mod top;

use std::process::ExitCode;

use clap::Parser;

use cli::{Arguments, Command};
use context::Context;
use error::Result;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kqueuectl: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Command::Generate { what } = &arguments.command {
        return generate::generate(what);
    }
    let mut context = Context::open(arguments)?;
    let context = &mut context;
    match &arguments.command {
        Command::Put(put) => items::put(context, put),
        Command::Get(get) => items::get(context, get),
        Command::Peek { queue } => items::peek(context, queue),
        Command::Reserve(reserve) => reserve::reserve(context, reserve),
        Command::Browse(browse) => browse::browse(context, browse),
        Command::Kick(kick) => browse::kick(context, kick),
        Command::Bury { queue, id, reason } => browse::bury(context, queue, *id, reason),
        Command::Purge { queue, what, yes } => queues::purge(context, queue, *what, *yes),
        Command::Delete { queue, yes } => queues::delete(context, queue, *yes),
        Command::Pause { queue } => queues::pause(context, queue, true),
        Command::Resume { queue } => queues::pause(context, queue, false),
        Command::Stats { queues, totals, all } => queues::stats(context, queues, *totals, *all),
        Command::Top(top) => top::top(context, top),
        Command::Status { status } => server::status(context, status.as_deref()),
        Command::Drain { within } => server::drain(context, *within),
        Command::Ping => server::ping(context),
        Command::Generate { .. } => Ok(()),
    }
}
