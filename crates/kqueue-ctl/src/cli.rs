//! The command line: what there is, and the help that teaches it. The man pages and the completions are made from this.
//!
//! Must not: talk to a server.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Looks into a queue server and steers it: items, dead letters, statistics, status.
///
/// Speaks the memcache port of kqueue-server (docs/protocol.md). Everything it shows is for people; with --json it is one JSON object per line, whose names stay the same.
///
/// Exit codes: 0 done, 1 the server refused or something went wrong, 2 usage error, 3 there was nothing (no item, no such dead letter), 4 the server cannot be reached.
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
        default_value = "127.0.0.1:22133"
    )]
    pub(crate) server: String,
    /// How long the server may take to answer, besides the time that a command is told to wait.
    #[arg(long, global = true, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// One JSON object per line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Puts an item into a queue, or one per line.
    ///
    /// Prints its id. The item is on the disk then, as far as the queue's sync_journal says. Without BODY it is read from standard input.
    ///
    /// Example: kqueuectl put mails '{"to":"ann"}' --delay 10m --key mail-4711
    Put(Put),
    /// Takes an item for good and prints its body.
    ///
    /// It is lost if nobody uses it then. To be sure, use reserve with --exec.
    ///
    /// Example: kqueuectl get mails --wait 10s
    Get(Get),
    /// Takes items tentatively, and either runs a program for each or shows them and gives them back.
    ///
    /// With --exec the program gets the body on standard input, and the item's id, queue and attempts in KQUEUE_ID, KQUEUE_QUEUE and KQUEUE_ATTEMPTS. Exit code 0 removes the
    /// item; another one returns it, or buries it with --bury. Without --exec the items are printed, and return when kqueuectl ends; each such look counts as an attempt (browse does not).
    ///
    /// Example: kqueuectl reserve mails --max 100 --wait 1m --exec ./send-mail
    Reserve(Reserve),
    /// Shows the item that would be handed out next, and leaves it where it is.
    Peek {
        /// The queue.
        queue: String,
    },
    /// Shows items in a state without taking them.
    ///
    /// States: ready, delayed (not ready yet), open (in somebody's hands), dead (buried, or delivered too often).
    ///
    /// Example: kqueuectl browse mails dead --max 20
    Browse(Browse),
    /// Makes dead letters items of their queue again: all, so many of the oldest, or one.
    ///
    /// Example: kqueuectl kick mails --all
    Kick(Kick),
    /// Makes the next item of a queue a dead letter, with a reason.
    ///
    /// Example: kqueuectl bury mails --reason 'endless loop, see ticket 4711'
    Bury {
        /// The queue.
        queue: String,
        /// The item's id: it is only buried if it is the next one.
        #[arg(long)]
        id: Option<u64>,
        /// What is kept with it, up to 1024 bytes.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Removes all items of a queue in a state, for good.
    ///
    /// Open items stay. Asks before, unless told --yes or not run from a terminal.
    ///
    /// Example: kqueuectl purge mails dead --yes
    Purge {
        /// The queue.
        queue: String,
        /// Which items.
        what: What,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Deletes a queue with everything in it, for good: open items, too.
    Delete {
        /// The queue.
        queue: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Lets a queue hand nothing out until it is resumed. Puts go on; a restart does not end it.
    Pause {
        /// The queue.
        queue: String,
    },
    /// Ends a pause.
    Resume {
        /// The queue.
        queue: String,
    },
    /// Prints the figures of the queues as a table, or of the server.
    ///
    /// Example: kqueuectl stats mails --all
    Stats {
        /// Only these queues.
        queues: Vec<String>,
        /// The server's own figures instead.
        #[arg(long, conflicts_with = "queues")]
        totals: bool,
        /// Everything that the server says of each queue.
        #[arg(long)]
        all: bool,
    },
    /// A table of the queues that is drawn again and again, with what happens per second.
    ///
    /// Ctrl-C ends it. With --count it ends by itself, for scripts.
    Top(Top),
    /// Shows the server's status, or sets it: up, readonly (no puts), quiescent (no puts, no reads).
    ///
    /// What is open can always be finished. The status outlives a restart.
    Status {
        /// The new status.
        status: Option<String>,
    },
    /// Refuses puts and waits until everything has been worked off.
    ///
    /// Sets the status to readonly, so that clients go to another server, and waits until no item is ready or open; delayed ones and dead letters are told and stay. `kqueuectl status up`
    /// goes back.
    ///
    /// Example: kqueuectl drain --within 10m && systemctl stop kqueue-server
    Drain {
        /// Give up after so long; the status stays.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        within: Option<Duration>,
    },
    /// Asks the server for its version, and measures how long it takes to answer.
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
    pub(crate) queue: String,
    /// The item.
    #[arg(conflicts_with_all = ["file", "lines"])]
    pub(crate) body: Option<String>,
    /// Reads the item from a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Each line of the input is an item, without its line end.
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
    pub(crate) queue: String,
    /// Waits so long for an item.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Reserve {
    /// Up to 16 queues, tried in this order.
    #[arg(required = true, num_args = 1..=16)]
    pub(crate) queues: Vec<String>,
    /// At most so many items; with --exec one after the other.
    #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) max: u32,
    /// Waits so long for each item.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// Items return by themselves after so long.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) lease: Option<Duration>,
    /// Runs this program for each item, with its arguments; everything behind --exec belongs to it.
    #[arg(long, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true)]
    pub(crate) exec: Vec<String>,
    /// Buries an item for which the program failed.
    #[arg(long)]
    pub(crate) bury: bool,
    /// Lets an item for which the program failed come again after so long.
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "bury")]
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Browse {
    /// The queue.
    pub(crate) queue: String,
    /// Which of its items.
    #[arg(value_enum, default_value_t = State::Ready)]
    pub(crate) state: State,
    /// At most so many; 0: all.
    #[arg(long, short = 'n', default_value_t = 20)]
    pub(crate) max: u64,
    /// Shows so many bytes of each body.
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    pub(crate) body: u32,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// All of them.
    #[arg(long)]
    pub(crate) all: bool,
    /// So many of the oldest.
    #[arg(long, short = 'n', value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max: Option<u32>,
    /// The one with this id, as browse shows it.
    #[arg(long)]
    pub(crate) id: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Kick {
    /// The queue.
    pub(crate) queue: String,
    #[command(flatten)]
    pub(crate) which: Which,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Only these queues.
    pub(crate) queues: Vec<String>,
    /// Draws it again after so long.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub(crate) every: Duration,
    /// Ends after so many tables.
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// The largest of this column come first.
    #[arg(long, value_enum, default_value_t = Column::Ready)]
    pub(crate) sort: Column,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Generate {
    /// The man pages, one per command, into a directory.
    Man {
        /// It must exist.
        directory: PathBuf,
    },
    /// The completions of a shell, to standard output.
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

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_teaches() {
        for command in Arguments::command().get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.len() > 20, "{} says what it is for", command.get_name());
        }
    }

    #[test]
    fn one_of_what_to_kick_has_to_be_said() {
        let parse = |words: &str| Arguments::try_parse_from(words.split(' '));
        assert!(parse("kqueuectl kick q --all").is_ok());
        assert!(parse("kqueuectl kick q").is_err());
        assert!(parse("kqueuectl kick q --all --id 5").is_err());
        assert!(parse("kqueuectl kick q --max 0").is_err());
    }

    #[test]
    fn what_stands_behind_exec_belongs_to_the_program() {
        let words = "kqueuectl reserve a b --exec grep -q --json x";
        let parsed = Arguments::try_parse_from(words.split(' ')).expect("it is right");
        let Command::Reserve(reserve) = parsed.command else { panic!("reserve") };
        assert_eq!(reserve.queues, ["a", "b"]);
        assert_eq!(reserve.exec, ["grep", "-q", "--json", "x"]);
        assert!(!parsed.json);
    }
}
