//! The command line: what there is, and the help that teaches it. The man pages and the completions are made from this.
//!
//! Must not: talk to a server.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use kqueue_proto::{Cursor, Name};

/// What can be said with every command.
const EVERYWHERE: &str = "Server and output";

/// Looks into a queue server and steers it: items, dead letters, statistics, status.
///
/// Speaks the memcache port of kqueue-server (docs/protocol.md). What it prints is for people; with --json it is one JSON object per line, and their names stay the same. Complaints and
/// progress go to standard error.
///
/// Exit codes: 0 done, 1 the server refused or something went wrong, 2 usage error, 3 there was nothing (no item, no such queue, no such dead letter), 4 the server cannot be reached or
/// does not answer.
#[derive(Debug, Parser)]
#[command(name = "kqueuectl", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The server: host:port, or unix:/path.
    #[arg(
        long,
        short,
        global = true,
        value_name = "ADDRESS",
        env = "KQUEUE_SERVER",
        hide_env_values = true,
        help_heading = EVERYWHERE,
        default_value = "127.0.0.1:22133"
    )]
    // Read where it is needed: clap would read that of the environment also where another one is given.
    pub(crate) server: String,
    /// How long the server may take to answer, besides the time that a command is told to wait.
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        default_value = "10s",
        value_parser = some_time,
        help_heading = EVERYWHERE
    )]
    pub(crate) timeout: Duration,
    /// One JSON object per line; a body that is not UTF-8 is base64, named body_base64.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Puts an item into a queue, or one per line, and prints the ids.
    ///
    /// When the id is printed, the item is on the disk as the queue's sync_journal says. Without BODY and --file it is read from standard input, to the last byte.
    ///
    /// With --lines a refusal ends it: it says how many lines are stored, and which was the first that is not.
    ///
    /// Examples: kqueuectl put mails '{"to":"ann"}' --delay 10m --key mail-4711;
    /// kqueuectl put mails --lines --file mails.jsonl
    Put(Put),
    /// Takes items for good and prints their bodies.
    ///
    /// Each is printed with a line end behind it (--raw: without), and removed once that has been written; if it cannot be, it returns to the queue. To remove an item only when it has been
    /// worked on, use reserve with --exec.
    ///
    /// Example: kqueuectl get mails --wait 10s
    Get(Get),
    /// Takes items tentatively and runs a program for each, or shows them and gives them back.
    ///
    /// With --exec the program gets the body on standard input, and the item's queue, id, attempts and flags in KQUEUE_QUEUE, KQUEUE_ID, KQUEUE_ATTEMPTS and KQUEUE_FLAGS. Exit code 0
    /// removes the item; another one returns it to the queue as its retry_delay says, or as --retry-after and --bury do. Then kqueuectl's exit code is 1. If kqueuectl ends before the program,
    /// the item returns.
    ///
    /// Without --exec the items are printed and returned. Each such look counts as an attempt; browse does not.
    ///
    /// Example: kqueuectl reserve mails --max 100 --wait 1m --exec ./send-mail --quiet
    Reserve(Reserve),
    /// Shows the item that would be handed out next, and leaves it where it is.
    ///
    /// Prints the body, with a line end behind it. `kqueuectl browse QUEUE --max 1` shows its id, age and attempts.
    ///
    /// Example: kqueuectl peek mails
    Peek {
        /// The queue.
        #[arg(value_parser = queue())]
        queue: Name,
    },
    /// Shows items in a state without taking them.
    ///
    /// States: ready, delayed (not ready yet), open (in somebody's hands), dead (buried, or delivered too often). No order, attempt or lease changes.
    ///
    /// Example: kqueuectl browse mails dead --max 100
    Browse(Browse),
    /// Makes dead letters items of their queue again: all, so many of the oldest, or one.
    ///
    /// They go to the end of the queue, and their attempts are counted from 0 again.
    ///
    /// Example: kqueuectl kick mails --id 4711
    Kick(Kick),
    /// Makes the next item of a queue a dead letter.
    ///
    /// For an item that nobody can work on and that everybody waits behind. `kqueuectl browse QUEUE dead` shows it (or the queue's dead_letter_queue has it), kick brings it back.
    ///
    /// Example: kqueuectl bury mails --reason 'endless loop, see ticket 4711'
    Bury(Bury),
    /// Removes all items of a queue in a state, for good.
    ///
    /// Open items stay; `all` are the three other states. Asks before, if standard input is a terminal and --yes is not given.
    ///
    /// Example: kqueuectl purge mails dead --yes
    Purge(Purge),
    /// Deletes a queue with everything in it, for good: open items, too.
    ///
    /// Asks before, if standard input is a terminal and --yes is not given. A queue that is not there is deleted, too.
    ///
    /// Example: kqueuectl delete mails-of-2019 --yes
    Delete(Delete),
    /// Lets a queue hand nothing out until it is resumed.
    ///
    /// Puts go on, clients that wait go on waiting, what is open can be finished. A restart does not end it.
    ///
    /// Example: kqueuectl pause mails
    Pause {
        /// The queue.
        #[arg(value_parser = queue())]
        queue: Name,
    },
    /// Lets a paused queue hand out items again.
    ///
    /// Example: kqueuectl resume mails
    Resume {
        /// The queue.
        #[arg(value_parser = queue())]
        queue: Name,
    },
    /// Prints the figures of queues as a table, or those of the server.
    ///
    /// With --json all figures are there, always, by the names that docs/operating.md explains.
    ///
    /// Example: kqueuectl stats mails --all
    Stats(Stats),
    /// A table of the queues that is drawn again and again, with what happens per second.
    ///
    /// IN/S are items put, OUT/S items gone in whatever way, since the table before; open items are still there. Ctrl-C ends it. With --count it ends by itself. Unless standard output is a
    /// terminal, each table follows the one before.
    ///
    /// Example: kqueuectl top --sort in
    Top(Top),
    /// Shows the server's status, or sets it.
    ///
    /// up: everything. writeavoid: everything, but clients should put elsewhere if they can. readonly: no puts, flushes, deletes. quiescent: no reads either. What is open can always be
    /// finished. The status outlives a restart.
    ///
    /// Example: kqueuectl status readonly
    Status {
        /// The new status.
        #[arg(value_enum)]
        status: Option<Status>,
    },
    /// Refuses puts and waits until everything has been worked off.
    ///
    /// Sets the status to readonly, so that producers go to another server, and waits until puts are refused (after server.status_change_grace_period) and no item is ready or open. Delayed items and dead letters are told and stay, and so does what is in
    /// the queues named by --except, such as a dead_letter_queue that nobody reads. The status stays readonly, also if it is interrupted: `kqueuectl status up` goes back.
    ///
    /// Example: kqueuectl drain --within 10m && systemctl stop kqueue-server
    Drain(Drain),
    /// Asks the server for its version and what it can do, and measures how long it takes to answer.
    ///
    /// Example: kqueuectl ping --server queue1:22133
    #[command(visible_alias = "version")]
    Ping,
    /// Writes the man pages or a shell's completions.
    Generate {
        #[command(subcommand)]
        what: Generate,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Put {
    /// The queue; it is made if there is none.
    #[arg(value_parser = queue())]
    pub(crate) queue: Name,
    /// The item.
    #[arg(conflicts_with_all = ["file", "lines"])]
    pub(crate) body: Option<OsString>,
    /// Reads the item from a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Each line of the input is an item, without its line end (LF).
    #[arg(long)]
    pub(crate) lines: bool,
    /// It is gone when nobody has taken it for so long (whole seconds).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) ttl: Option<Duration>,
    /// It is not handed out before so long.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) delay: Option<Duration>,
    /// Before which others it is handed out.
    #[arg(long, value_enum, default_value_t = Level::Normal)]
    pub(crate) priority: Level,
    /// A put with the same key is not stored again, within the server's idempotency_window.
    #[arg(long, conflicts_with = "lines")]
    pub(crate) key: Option<String>,
    /// A number that is returned with the item.
    #[arg(long, default_value_t = 0)]
    pub(crate) flags: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The queue.
    #[arg(value_parser = queue())]
    pub(crate) queue: Name,
    /// At most so many items, as many as are there.
    #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max: u64,
    /// Waits so long for the first one.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// Prints the bytes of the bodies and nothing else.
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Reserve {
    /// Up to 16 queues, tried in this order.
    #[arg(required = true, num_args = 1..=16, value_name = "QUEUE", value_parser = queue())]
    pub(crate) queues: Vec<Name>,
    /// At most so many items; with --exec one after the other, without it 1000 at most.
    #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max: u32,
    /// Waits so long for each item.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// The item returns if the program takes longer than this. Without it: never while it runs.
    #[arg(long, value_name = "TIME", value_parser = some_time, requires = "exec")]
    pub(crate) lease: Option<Duration>,
    /// Buries an item for which the program failed.
    #[arg(long, requires = "exec")]
    pub(crate) bury: bool,
    /// Lets an item for which the program failed come again after so long.
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "bury", requires = "exec")]
    pub(crate) retry_after: Option<Duration>,
    /// Runs this program for each item, with its arguments: everything behind --exec belongs to it.
    #[arg(long, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true)]
    pub(crate) exec: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Bury {
    /// The queue.
    #[arg(value_parser = queue())]
    pub(crate) queue: Name,
    /// Only if the next item is the one with this id.
    #[arg(long)]
    pub(crate) id: Option<u64>,
    /// What is kept with it, up to 1024 bytes.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Browse {
    /// The queue.
    #[arg(value_parser = queue())]
    pub(crate) queue: Name,
    /// Which of its items.
    #[arg(value_enum, default_value_t = State::Ready)]
    pub(crate) state: State,
    /// At most so many; 0: all.
    #[arg(long, short = 'n', default_value_t = 20)]
    pub(crate) max: u64,
    /// Goes on where another browse ended, as it said.
    #[arg(long, value_name = "CURSOR", value_parser = cursor)]
    pub(crate) after: Option<Cursor>,
    /// Shows so many bytes of each body.
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(..=0x7fff_ffff))]
    pub(crate) body: u32,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// All of them.
    #[arg(long)]
    pub(crate) all: bool,
    /// So many of the oldest.
    #[arg(long, short = 'n', value_parser = clap::value_parser!(u32).range(1..=0x7fff_ffff))]
    pub(crate) max: Option<u32>,
    /// The one with this id, as browse shows it.
    #[arg(long)]
    pub(crate) id: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Kick {
    /// The queue.
    #[arg(value_parser = queue())]
    pub(crate) queue: Name,
    #[command(flatten)]
    pub(crate) which: Which,
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// The queue.
    #[arg(value_parser = queue())]
    pub(crate) queue: Name,
    /// Which items.
    #[arg(value_enum)]
    pub(crate) what: What,
    /// Does not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The queue.
    #[arg(value_parser = queue())]
    pub(crate) queue: Name,
    /// Does not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Only these queues.
    #[arg(value_name = "QUEUE", value_parser = queue())]
    pub(crate) queues: Vec<Name>,
    /// The server's own figures instead.
    #[arg(long, conflicts_with_all = ["queues", "all"])]
    pub(crate) totals: bool,
    /// Every figure of each queue.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Only these queues.
    #[arg(value_name = "QUEUE", value_parser = queue())]
    pub(crate) queues: Vec<Name>,
    /// Draws it again after so long.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = some_time)]
    pub(crate) every: Duration,
    /// Ends after so many tables.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// The same as --count 1: no rates then.
    #[arg(long, conflicts_with = "count")]
    pub(crate) once: bool,
    /// The largest of this column come first.
    #[arg(long, value_enum, default_value_t = Column::Ready)]
    pub(crate) sort: Column,
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Gives up after so long, with exit code 1; the status stays.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) within: Option<Duration>,
    /// Waits for delayed items, too.
    #[arg(long)]
    pub(crate) delayed: bool,
    /// Does not wait for this queue; may be given several times.
    #[arg(long, value_name = "QUEUE", value_parser = queue())]
    pub(crate) except: Vec<Name>,
    /// Looks again after so long.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = some_time)]
    pub(crate) every: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Generate {
    /// Writes the man pages, one per command.
    Man {
        /// Where to; it is made if it does not exist.
        directory: PathBuf,
    },
    /// Writes the completions of a shell to standard output.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// As the protocol's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    High,
    Normal,
    Low,
}

/// As the protocol's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    Ready,
    Delayed,
    Open,
    Dead,
}

/// As the protocol's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    Ready,
    Delayed,
    Dead,
    All,
}

/// As the protocol's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    Up,
    Writeavoid,
    Readonly,
    Quiescent,
}

/// What `top` can sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    Name,
    Ready,
    Delayed,
    Open,
    Dead,
    Waiters,
    Bytes,
    In,
    Out,
}

fn duration(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; a time is 250ms, 10s, 5m, 2h or 30d"))?;
    match time.subsec_nanos() % 1_000_000 {
        0 => Ok(time),
        // What is less would be cut: to no wait at all, or to a lease without an end.
        _ => Err("a time is whole milliseconds".to_owned()),
    }
}

/// A time that is not 0.
fn some_time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.is_zero() { Err("it is at least 1ms".to_owned()) } else { Ok(time) }
}

/// Names may have bytes that are no UTF-8.
fn queue() -> impl TypedValueParser<Value = Name> {
    OsStringValueParser::new().try_map(|name| {
        Name::check(&name.into_vec()).map(|name| name.to_name()).map_err(|error| error.to_string())
    })
}

fn cursor(text: &str) -> Result<Cursor, String> {
    Cursor::parse(text.as_bytes()).ok_or_else(|| "a cursor is what browse said".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(words: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(words.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_teaches() {
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.len() > 12 && !about.contains('\n'), "{name} says what it is for");
            if name != "generate" {
                let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
                let example = long.split("Example").nth(1).unwrap_or_default();
                assert!(example.contains(&format!("kqueuectl {name}")), "{name}: {long}");
            }
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name}: {}", argument.get_id());
            }
        }
    }

    #[test]
    fn one_of_what_to_kick_has_to_be_said() {
        assert!(parse("kqueuectl kick q --all").is_ok());
        assert!(parse("kqueuectl kick q --id 18446744073709551615").is_ok());
        for bad in ["", " --all --id 5", " --max 0", " --id -1", " --all --max 1"] {
            assert!(parse(&format!("kqueuectl kick q{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_stands_behind_exec_belongs_to_the_program() {
        let words = "kqueuectl reserve a b --exec grep -q --json x";
        let parsed = parse(words).expect("it is right");
        let Command::Reserve(reserve) = parsed.command else { panic!("reserve") };
        assert_eq!(reserve.queues.iter().map(|name| &name[..]).collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(reserve.exec, ["grep", "-q", "--json", "x"]);
        assert!(!parsed.json);
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_sent() {
        for bad in [
            "put a/b x",
            "put",
            "put q x --ttl soon",
            "put q --lines --key k",
            "put q x --file f",
            "put q x --priority urgent",
            "reserve",
            "reserve q --bury",
            "reserve q --bury --retry-after 1s --exec x",
            "browse q lost",
            "browse q --after x",
            "purge q",
            "purge q open",
            "status down",
            "stats q --totals",
            "put q x --delay 100us",
            "get q --wait 1500us",
            "get q --max 0",
            "reserve q --lease 0 --exec x",
            "reserve q --lease 0s --exec x",
            "top --every 0",
            "drain --every 0s",
            "ping --timeout 0",
            "top --once --count 2",
            "get q --raw --json",
        ] {
            assert!(parse(&format!("kqueuectl {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_may_have_any_bytes_that_the_protocol_allows() {
        let name = OsString::from_vec(b"caf\xe9".to_vec());
        let words = [OsString::from("kqueuectl"), "peek".into(), name];
        let Ok(Arguments { command: Command::Peek { queue }, .. }) =
            Arguments::try_parse_from(words)
        else {
            panic!("peek")
        };
        assert_eq!(&queue[..], b"caf\xe9");
    }
}
