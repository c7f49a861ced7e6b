//! `kqueuectl` against a real daemon: what each command does to the queues, what it prints, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use kqueue_tests::{Ctl, Daemon, Done, ctl_binary, repository, run};
use serde_json::{Value, json};

fn started(extra: &str) -> (Daemon, Ctl) {
    let daemon = Daemon::start(extra);
    let ctl = Ctl::of(&daemon);
    (daemon, ctl)
}

/// A figure of a queue.
fn figure(ctl: &Ctl, queue: &str, name: &str) -> u64 {
    ctl.objects(&format!("stats {queue}"))[0][name].as_u64().expect("a number")
}

/// The bodies of the items in a state.
fn bodies(ctl: &Ctl, queue: &str, state: &str) -> Vec<String> {
    let done = ctl.run(&["browse", queue, state, "--json", "--max", "0"]);
    if done.code == Some(3) {
        return Vec::new();
    }
    assert_eq!(done.code, Some(0), "{done:?}");
    let items = done.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    items.map(|item| item["body"].as_str().expect("text").to_owned()).collect()
}

fn id(printed: &str) -> u64 {
    printed.trim().parse().expect("an id")
}

mod items {
    use super::*;

    #[test]
    fn put_prints_the_id_and_takes_the_body_from_anywhere() {
        let (daemon, ctl) = started("");
        let first = id(&ctl.says("put jobs first"));
        let second = ctl.run_with_input(&["put", "jobs"], b"from\nstandard input\n");
        assert!(id(&second.out) > first, "{second:?}");
        let file = daemon.data_dir().join("../body");
        std::fs::write(&file, b"\xff\x00").expect("a file");
        let put = ctl.objects(&format!("put jobs --file {}", file.display()));
        assert_eq!(put[0]["queue"], "jobs");
        assert!(put[0]["id"].as_u64().expect("an id") > first);
        let mut wire = daemon.connect();
        assert_eq!(wire.get("jobs").as_deref(), Some(&b"first"[..]));
        assert_eq!(wire.get("jobs").as_deref(), Some(&b"from\nstandard input\n"[..]));
        assert_eq!(wire.get("jobs").as_deref(), Some(&b"\xff\x00"[..]));
        let said = ctl.fails(1, "put jobs --file /nowhere/at/all");
        assert!(said.contains("/nowhere/at/all"), "{said}");
    }

    #[test]
    fn an_item_per_line_in_their_order() {
        let (daemon, ctl) = started("");
        let lines: Vec<String> = (0..3000).map(|n| format!("line {n}")).collect();
        let done = ctl.run_with_input(&["put", "jobs", "--lines"], lines.join("\n").as_bytes());
        assert_eq!((done.code, &done.err[..]), (Some(0), ""), "{done:?}");
        let ids: Vec<u64> = done.out.lines().map(id).collect();
        assert!(ids.len() == 3000 && ids.is_sorted());
        let mut wire = daemon.connect();
        for line in lines {
            assert_eq!(wire.get("jobs"), Some(line.into_bytes()));
        }
    }

    #[test]
    fn a_refused_line_is_named_and_what_is_stored_is_counted() {
        let (_daemon, ctl) = started("[queues.jobs]\nmax_items = 5\n");
        let lines = "x\n".repeat(1000);
        let done = ctl.run_with_input(&["put", "jobs", "--lines"], lines.as_bytes());
        assert_eq!((done.code, done.out.lines().count()), (Some(1), 5), "{done:?}");
        assert!(done.err.contains("5 items are stored; line 6 is not"), "{done:?}");
        assert_eq!(figure(&ctl, "jobs", "items"), 5);
        let said = ctl.fails(1, "put jobs one-more");
        assert!(said.contains("refused the put to jobs: "), "{said}");
    }

    #[test]
    fn every_line_is_put_though_nobody_reads_the_ids() {
        let (_daemon, ctl) = started("");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut put = ctl.command(&["put", "jobs", "--lines"]);
        let mut child = put.stdin(Stdio::piped()).stdout(writer).spawn().expect("it can be run");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all("x\n".repeat(5000).as_bytes()).expect("it is read");
        drop(stdin);
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
        assert_eq!(figure(&ctl, "jobs", "items"), 5000);
    }

    #[test]
    fn what_is_stored_is_told_if_the_ids_cannot_be_written() {
        let (_daemon, ctl) = started("");
        let full = std::fs::File::options().write(true).open("/dev/full").expect("it is there");
        let mut put = ctl.command(&["put", "jobs", "--lines"]);
        put.stdin(Stdio::piped()).stdout(full).stderr(Stdio::piped());
        let mut child = put.spawn().expect("it can be run");
        let mut stdin = child.stdin.take().expect("piped");
        // It may end before it has read everything.
        let _ = stdin.write_all("x\n".repeat(5000).as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("No space left") && err.contains("stored for sure"), "{err}");
    }

    #[test]
    fn the_options_of_put() {
        let (daemon, ctl) = started("");
        ctl.says("put jobs normal --flags 7");
        ctl.says("put jobs low --priority low");
        ctl.says("put jobs high --priority high");
        ctl.says("put jobs later --delay 1h --ttl 2h");
        let first = ctl.says("put jobs once --key order-1");
        assert_eq!(ctl.says("put jobs twice --key order-1"), first);
        assert_eq!(bodies(&ctl, "jobs", "ready"), ["high", "normal", "once", "low"]);
        let later = ctl.objects("browse jobs delayed").remove(0);
        assert_eq!(later["body"], "later");
        for (name, most) in [("due_ms", 3_600_000), ("ttl_ms", 7_200_000)] {
            let ms = later[name].as_u64().expect("a time");
            assert!(ms <= most && ms > most - 600_000, "{later}");
        }
        let mut wire = daemon.connect();
        assert_eq!(wire.get("jobs").as_deref(), Some(&b"high"[..]));
        wire.ask(b"get jobs\r\n", b"VALUE jobs 7 6\r\nnormal\r\nEND\r\n");
        let said = ctl.fails(2, "put jobs x --ttl 1500ms");
        assert!(said.contains("whole seconds"), "{said}");
    }

    #[test]
    fn get_prints_items_and_removes_them() {
        let (daemon, ctl) = started("");
        let said = ctl.fails(3, "get jobs");
        assert!(said.contains("nothing in jobs"), "{said}");
        let mut wire = daemon.connect();
        for body in ["one", "two", "three"] {
            wire.put("jobs", body.as_bytes());
        }
        assert_eq!(ctl.says("get jobs"), "one\n");
        let taken = ctl.objects("get jobs --max 1").remove(0);
        assert_eq!(
            [&taken["queue"], &taken["body"], &taken["attempts"], &taken["size"]],
            [&json!("jobs"), &json!("two"), &json!(1), &json!(3)]
        );
        assert_eq!(ctl.says("get jobs --raw -n 5"), "three");
        assert_eq!(daemon.stat("queue_jobs_total_items").as_deref(), Some("3"));
        wire.put("jobs", b"\xff\x00");
        assert_eq!(ctl.objects("get jobs")[0]["body_base64"], "/wA=");
        assert_eq!(figure(&ctl, "jobs", "items") + figure(&ctl, "jobs", "open_transactions"), 0);
    }

    #[test]
    fn get_waits_and_is_served_at_once() {
        let (daemon, ctl) = started("");
        let mut get = ctl.command(&["get", "jobs", "--wait", "60s"]);
        let child = get.stdout(Stdio::piped()).spawn().expect("it can be run");
        while daemon.stat("queue_jobs_waiters").as_deref() != Some("1") {
            std::thread::yield_now();
        }
        daemon.connect().put("jobs", b"at last");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success());
        assert_eq!(output.stdout, b"at last\n");
    }

    /// More than one item fits into the pipe's buffer, less than all.
    #[test]
    fn what_nobody_reads_is_not_taken() {
        let (daemon, ctl) = started("");
        let mut wire = daemon.connect();
        let body = "x".repeat(100_000);
        for _ in 0..20 {
            wire.put("jobs", body.as_bytes());
        }
        let mut get = ctl.command(&["get", "jobs", "-n", "20"]);
        let mut child = get.stdout(Stdio::piped()).spawn().expect("it can be run");
        let mut first = [0; 100_001];
        let mut stdout = child.stdout.take().expect("piped");
        stdout.read_exact(&mut first).expect("an item");
        drop(stdout);
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
        // The connection's end gives the rest back before the next question is answered.
        while figure(&ctl, "jobs", "open_transactions") > 0 {
            std::thread::yield_now();
        }
        let left = figure(&ctl, "jobs", "items");
        assert!((17..20).contains(&left), "{left}");
    }

    #[test]
    fn what_cannot_be_written_is_not_taken() {
        let (daemon, ctl) = started("");
        let mut wire = daemon.connect();
        wire.put("jobs", b"x");
        let full = std::fs::File::options().write(true).open("/dev/full").expect("it is there");
        let status = ctl.command(&["get", "jobs"]).stdout(full).stderr(Stdio::null()).status();
        assert_eq!(status.expect("it can be run").code(), Some(1));
        assert_eq!(wire.get("jobs/t=60000").as_deref(), Some(&b"x"[..]));
    }

    /// A look is no attempt that failed.
    #[test]
    fn peek_and_reserve_leave_what_is_there() {
        let (daemon, ctl) = started("[queues.jobs]\nretry_delay = \"1h\"\n");
        ctl.fails(3, "peek jobs");
        ctl.fails(3, "reserve jobs mails");
        let mut wire = daemon.connect();
        for body in ["one", "two", "three"] {
            wire.put("jobs", body.as_bytes());
        }
        wire.put("mails", b"a mail");
        assert_eq!(ctl.says("peek jobs"), "one\n");
        assert_eq!(ctl.objects("peek jobs")[0]["body"], "one");
        let said = ctl.says("reserve mails jobs --max 3");
        assert!(said.starts_with("mails ") && said.contains(" 1 attempt, "), "{said}");
        assert!(said.contains("\na mail\n") && said.contains("\none\n"), "{said}");
        let items = ctl.objects("reserve jobs mails --max 4");
        let attempts: Vec<&Value> = items.iter().map(|item| &item["attempts"]).collect();
        assert_eq!(attempts, [&json!(2), &json!(2), &json!(1), &json!(2)]);
        assert_eq!(bodies(&ctl, "jobs", "ready"), ["one", "two", "three"]);
        assert_eq!(bodies(&ctl, "jobs", "open"), Vec::<String>::new());
    }
}

mod programs {
    use super::*;

    #[test]
    fn an_item_is_removed_when_its_program_succeeded() {
        let (daemon, ctl) = started("");
        let mut wire = daemon.connect();
        wire.put("jobs", b"one");
        wire.put("jobs", b"two");
        let script = "cat; echo \" $KQUEUE_QUEUE $KQUEUE_ATTEMPTS $KQUEUE_FLAGS $1\"";
        let exec = ["--exec", "sh", "-c", script, "sh", "--json"];
        let done = ctl.run(&[&["reserve", "jobs", "-n", "5"][..], &exec].concat());
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(done.out, "one jobs 1 0 --json\ntwo jobs 1 0 --json\n");
        assert_eq!(figure(&ctl, "jobs", "items") + figure(&ctl, "jobs", "open_transactions"), 0);
        assert_eq!(ctl.run(&["reserve", "jobs", "--exec", "true"]).code, Some(3));
    }

    #[test]
    fn an_item_is_returned_delayed_or_buried_when_its_program_failed() {
        let (daemon, ctl) = started("");
        let mut wire = daemon.connect();
        wire.put("jobs", b"a job");
        let done = ctl.run(&["reserve", "jobs", "--json", "--exec", "sh", "-c", "exit 7"]);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.err.contains("exit status: 7, returned"), "{done:?}");
        let told: Value = serde_json::from_str(&done.out).expect("an object");
        assert_eq!((&told["outcome"], &told["exit_code"]), (&json!("returned"), &json!(7)));
        assert_eq!(bodies(&ctl, "jobs", "ready"), ["a job"]);

        let later = ["reserve", "jobs", "--retry-after", "1h", "--exec", "false"];
        assert_eq!(ctl.run(&later).code, Some(1));
        assert_eq!(bodies(&ctl, "jobs", "delayed"), ["a job"]);
        ctl.says("purge jobs delayed");

        wire.put("jobs", b"a bad job");
        assert_eq!(ctl.run(&["reserve", "jobs", "--bury", "--exec", "false"]).code, Some(1));
        let dead = ctl.objects("browse jobs dead").remove(0);
        assert_eq!((&dead["cause"], &dead["body"]), (&json!("buried"), &json!("a bad job")));
        assert_eq!(dead["reason"], "the program ended with exit status: 1");
    }

    #[test]
    fn a_program_that_is_not_there_takes_nothing() {
        let (daemon, ctl) = started("");
        daemon.connect().put("jobs", b"a job");
        let said = ctl.fails(1, "reserve jobs -n 3 --exec /nowhere/at/all");
        assert!(said.contains("cannot run /nowhere/at/all") && said.contains("is back in jobs"));
        assert_eq!(bodies(&ctl, "jobs", "ready"), ["a job"]);
    }

    #[test]
    fn a_killed_kqueuectl_gives_its_item_back() {
        let (daemon, ctl) = started("");
        let mut wire = daemon.connect();
        wire.put("jobs", b"a job");
        // It ends when kqueuectl has ended.
        let script = "cat; echo; exec tail -f /dev/null --pid=$PPID";
        let mut reserve = ctl.command(&["reserve", "jobs", "--exec", "sh", "-c", script]);
        let mut child = reserve.stdout(Stdio::piped()).spawn().expect("it can be run");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the program runs");
        assert_eq!(line, "a job\n");
        assert_eq!(bodies(&ctl, "jobs", "open"), ["a job"]);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        assert_eq!(wire.get("jobs/t=60000").as_deref(), Some(&b"a job"[..]));
    }

    /// The lease ends while the program runs, and the item goes to somebody else.
    #[test]
    fn an_item_that_was_lost_meanwhile_is_told() {
        let (daemon, ctl) = started("");
        daemon.connect().put("jobs", b"a job");
        let program = ctl_binary();
        let take = format!("{} get jobs --wait 60s", program.display());
        let exec = ["--exec", "sh", "-c", &take];
        let done = ctl.run(&[&["reserve", "jobs", "--lease", "100ms"][..], &exec].concat());
        assert_eq!((done.code, &done.out[..]), (Some(1), "a job\n"), "{done:?}");
        assert!(done.err.contains("was not ours any more"), "{done:?}");
    }
}

mod dead_letters {
    use super::*;

    #[test]
    fn bury_browse_and_kick() {
        let (_daemon, ctl) = started("");
        assert!(ctl.fails(3, "bury jobs").contains("nothing in jobs"));
        let ids: Vec<u64> = ["a", "b", "c"].map(|b| id(&ctl.says(&format!("put jobs {b}")))).into();
        let done = ctl.run(&["bury", "jobs", "--reason", "too\nlong"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let said = ctl.fails(3, &format!("bury jobs --id {}", ids[2]));
        assert!(said.contains("nothing was buried"), "{said}");
        let buried = ctl.objects(&format!("bury jobs --id {}", ids[1])).remove(0);
        assert_eq!(buried["id"], ids[1]);
        let dead = ctl.objects("browse jobs dead");
        assert_eq!(
            (&dead[0]["reason"], &dead[0]["cause"]),
            (&json!("too\nlong"), &json!("buried"))
        );
        assert_eq!((&dead[0]["body"], &dead[1]["body"]), (&json!("a"), &json!("b")));
        let table = ctl.says("browse jobs dead");
        assert!(table.contains("(buried: too\\nlong)"), "{table}");

        assert!(ctl.fails(3, "kick jobs --id 1").contains("no dead letter of jobs"));
        assert_eq!(ctl.objects(&format!("kick jobs --id {}", ids[1]))[0]["kicked"], 1);
        assert_eq!(bodies(&ctl, "jobs", "ready"), ["c", "b"]);
        assert_eq!(ctl.objects("kick jobs --all")[0]["kicked"], 1);
        assert_eq!(ctl.objects("kick jobs --max 5")[0]["kicked"], 0);
        assert_eq!(bodies(&ctl, "jobs", "ready"), ["c", "b", "a"]);
        assert_eq!(bodies(&ctl, "jobs", "dead"), Vec::<String>::new());
    }

    #[test]
    fn what_was_delivered_too_often_can_be_kicked() {
        let (_daemon, ctl) =
            started("[queues.jobs]\nmax_attempts = 2\ndead_letter_queue = \"failed\"\n");
        ctl.says("put jobs x");
        for _ in 0..2 {
            assert_eq!(ctl.run(&["reserve", "jobs", "--exec", "false"]).code, Some(1));
        }
        let dead = ctl.objects("browse failed").remove(0);
        assert_eq!((&dead["state"], &dead["origin"]), (&json!("ready"), &json!("jobs")));
        let table = ctl.says("browse failed");
        assert!(table.contains(" of jobs "), "{table}");
        assert_eq!(ctl.objects("kick jobs --all")[0]["kicked"], 1);
        assert_eq!(ctl.objects("browse jobs")[0]["attempts"], 0);
    }

    #[test]
    fn browse_goes_on_where_it_ended() {
        let (_daemon, ctl) = started("");
        let lines: String = (0..2500).map(|n| format!("item {n}\n")).collect();
        ctl.run_with_input(&["put", "jobs", "--lines"], lines.as_bytes());
        let all: Vec<String> = lines.lines().map(str::to_owned).collect();
        assert_eq!(bodies(&ctl, "jobs", "ready"), all);
        let mut seen = Vec::new();
        let mut arguments = vec!["browse".to_owned(), "jobs".into(), "--json".into()];
        arguments.extend(["--max".into(), "700".into(), "--body".into(), "6".into()]);
        loop {
            let done: Done = ctl.run(&arguments);
            assert_eq!(done.code, Some(0), "{}", done.err);
            seen.extend(done.out.lines().map(|line| {
                let item: Value = serde_json::from_str(line).expect("an object");
                assert!(item["body"].as_str().is_some_and(|body| body.len() == 6), "{item}");
                item["id"].as_u64().expect("an id")
            }));
            let Some((_, cursor)) = done.err.trim().split_once("--after ") else { break };
            arguments.truncate(7);
            arguments.extend(["--after".to_owned(), cursor.to_owned()]);
        }
        assert!(seen.len() == 2500 && seen.is_sorted(), "{}", seen.len());
        assert!(ctl.fails(3, "browse jobs dead").contains("no item of jobs is dead"));
    }
}

mod queues {
    use super::*;

    #[test]
    fn purge_removes_a_state_and_delete_everything() {
        let (_daemon, ctl) = started("");
        for words in ["put jobs ready", "put jobs buried --priority high"] {
            ctl.says(words);
        }
        ctl.says("bury jobs");
        ctl.says("put jobs later --delay 1h");
        assert_eq!(ctl.objects("purge jobs dead --yes")[0]["purged"], 1);
        assert_eq!(ctl.objects("purge jobs dead")[0]["purged"], 0);
        assert_eq!(bodies(&ctl, "jobs", "ready"), ["ready"]);
        assert_eq!(ctl.says("purge jobs all"), "2 items of jobs removed\n");
        ctl.says("put jobs again");
        assert_eq!(ctl.says("delete jobs"), "jobs is deleted\n");
        assert!(ctl.fails(3, "stats jobs").contains("no queue jobs"));
    }

    /// `script` gives it a terminal; what is typed is shown, too.
    #[test]
    fn who_sits_before_a_terminal_is_asked() {
        let (_daemon, ctl) = started("");
        ctl.says("put jobs x");
        for (typed, words, code, is_left) in [
            ("no\n", "purge jobs all", 1, 1),
            ("\n", "delete jobs", 1, 1),
            ("", "purge jobs all --yes", 0, 0),
        ] {
            let (said, ended) = at_a_terminal(&ctl, words, |stdin, _| {
                stdin.write_all(typed.as_bytes()).expect("it is read");
            });
            assert_eq!(ended, code, "{words}: {said}");
            assert_eq!(said.contains("for good? [y/N]"), code == 1, "{words}: {said}");
            assert_eq!(figure(&ctl, "jobs", "items"), is_left, "{words}");
        }
        ctl.says("put jobs x");
        let (said, ended) = at_a_terminal(&ctl, "delete jobs", |stdin, _| {
            stdin.write_all(b"y\n").expect("it is read");
        });
        assert_eq!(ended, 0, "{said}");
        ctl.fails(3, "stats jobs");
    }

    #[test]
    fn a_paused_queue_hands_nothing_out() {
        let (daemon, ctl) = started("");
        ctl.says("put jobs x");
        assert!(ctl.says("pause jobs").contains("kqueuectl resume jobs"));
        ctl.fails(3, "get jobs");
        assert!(ctl.says("stats").lines().any(|line| line.ends_with("paused")));
        let daemon = daemon.kill_and_restart();
        let ctl = Ctl::of(&daemon);
        ctl.fails(3, "get jobs");
        assert_eq!(ctl.objects("resume jobs")[0]["paused"], false);
        assert_eq!(ctl.says("get jobs"), "x\n");
    }

    #[test]
    fn figures_of_queues_and_of_the_server() {
        let (daemon, ctl) = started("[aliases.all]\ndestinations = [\"jobs\", \"mails\"]\n");
        ctl.says("put jobs 12345");
        ctl.says("put all x");
        let table = ctl.says("stats");
        let lines: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(&lines[0][..3], ["QUEUE", "READY", "DELAYED"], "{table}");
        assert_eq!(lines[1][0], "all");
        assert!(table.contains("alias of jobs,mails"), "{table}");
        assert_eq!(&lines[2][..2], ["jobs", "2"], "{table}");
        assert_eq!(&lines[3][..2], ["mails", "1"], "{table}");
        let jobs = ctl.objects("stats jobs").remove(0);
        assert_eq!([&jobs["queue"], &jobs["bytes"]], [&json!("jobs"), &json!(6)]);
        assert!(ctl.says("stats jobs --all").starts_with("jobs\n  items"));
        let totals = ctl.objects("stats --totals").remove(0);
        assert_eq!([&totals["curr_items"], &totals["bytes"]], [&json!(3), &json!(7)]);
        assert!(totals["queue_creates"].is_u64() && totals["queue_jobs_items"].is_null());
        assert!(ctl.says("stats --totals").lines().any(|line| line.starts_with("version ")));
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
        daemon.connect().ask(b"set caf\xe9 0 0 1\r\nx\r\n", b"STORED\r\n");
        let peek: &[&std::ffi::OsStr] = &["peek".as_ref(), name];
        assert_eq!(ctl.run(peek).out, "x\n");
    }
}

mod top {
    use super::*;

    #[test]
    fn tables_for_scripts() {
        let (_daemon, ctl) = started("");
        ctl.says("put small x");
        for _ in 0..3 {
            ctl.says("put large x");
        }
        let table = ctl.says("top --once");
        let names: Vec<&str> =
            table.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(names, ["QUEUE", "large", "small"], "{table}");
        assert!(!table.contains('\x1b'), "{table:?}");
        let twice = ctl.objects("top small --count 2 --every 1ms");
        assert_eq!(twice.len(), 2);
        assert_eq!(twice[0]["in_per_second"], Value::Null);
        assert_eq!(twice[1]["in_per_second"], 0.0);
        assert_eq!(ctl.says("top --sort name --count 2 --every 1ms").matches("QUEUE").count(), 2);
    }

    #[test]
    fn ctrl_c_leaves_the_terminal_as_it_was() {
        let (_daemon, ctl) = started("");
        ctl.says("put jobs x");
        let (said, ended) = at_a_terminal(&ctl, "top --every 1h", |stdin, stdout| {
            let mut seen = Vec::new();
            while !seen.windows(4).any(|part| part == b"jobs") {
                let mut byte = [0];
                stdout.read_exact(&mut byte).expect("a table");
                seen.push(byte[0]);
            }
            assert!(seen.starts_with(b"\x1b[?1049h\x1b[?25l"), "{}", seen.escape_ascii());
            stdin.write_all(b"\x03").expect("it is read");
        });
        assert_eq!(ended, 0, "{said}");
        assert!(said.ends_with("\x1b[?25h\x1b[?1049l"), "{said:?}");
    }

    #[test]
    fn ctrl_c_ends_it_though_the_server_is_silent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let ctl = Ctl::at(&listener.local_addr().expect("it has one").to_string());
        let mut silent = None;
        let (said, ended) = at_a_terminal(&ctl, "top --timeout 20s", |stdin, stdout| {
            let mut seen = [0; b"\x1b[?1049h\x1b[?25l".len()];
            stdout.read_exact(&mut seen).expect("the other screen");
            // It has asked, and waits.
            let (mut peer, _) = listener.accept().expect("it comes");
            peer.read_exact(&mut [0; 4]).expect("it asks");
            silent = Some(peer);
            stdin.write_all(b"\x03").expect("it is read");
        });
        assert_eq!(ended, 0, "{said}");
        assert!(said.ends_with("\x1b[?25h\x1b[?1049l"), "{said:?}");
    }
}

/// Runs it in a terminal of its own; `act` sees it from the keyboard. Answers what it showed then, and its exit code.
fn at_a_terminal(
    ctl: &Ctl,
    words: &str,
    act: impl FnOnce(&mut dyn Write, &mut dyn Read),
) -> (String, i32) {
    let command = ctl.command(&[] as &[&str]);
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--flush", "--command"]);
    script.arg(format!("exec {} {words}", ctl_binary().display())).arg("/dev/null");
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is installed: it is of Debian's bsdutils");
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    act(&mut stdin, &mut stdout);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("it ends");
    drop(stdin);
    let code = child.wait().expect("it ends").code().expect("no signal");
    (String::from_utf8_lossy(&rest).into_owned(), code)
}

mod server {
    use super::*;

    #[test]
    fn a_server_that_still_takes_puts_is_not_drained() {
        let (_daemon, ctl) = started("status_change_grace_period = \"30s\"\n----");
        let done = ctl.run(&["drain", "--within", "100ms", "--every", "10ms"]);
        assert_eq!((done.code, &done.out[..]), (Some(1), ""), "{done:?}");
        assert!(done.err.contains("status_change_grace_period"), "{done:?}");
        ctl.says("put jobs x");

        let (_daemon, ctl) = started("status_change_grace_period = \"300ms\"\n----");
        let said = ctl.run(&["drain", "--every", "10ms"]);
        assert!(said.code == Some(0) && said.out.contains("is drained"), "{said:?}");
        assert!(ctl.fails(1, "put jobs x").contains("READONLY"));
        assert!(ctl.objects("stats").is_empty(), "asking made no queue");
    }

    #[test]
    fn status_is_told_and_set() {
        let (_daemon, ctl) = started("");
        assert_eq!(ctl.says("status"), "UP\n");
        assert_eq!(ctl.objects("status readonly"), [json!({ "status": "READONLY" })]);
        let said = ctl.fails(1, "put jobs x");
        assert!(said.contains("READONLY") && said.contains("kqueuectl status up"), "{said}");
        assert_eq!(ctl.says("status up"), "UP\n");
        ctl.says("put jobs x");
        ctl.fails(2, "status down");
    }

    #[test]
    fn drain_waits_until_everything_is_worked_off() {
        let (daemon, ctl) = started("");
        for words in ["put jobs x", "put jobs y", "put later z --delay 1h", "put failed w"] {
            ctl.says(words);
        }
        ctl.says("put later dead");
        ctl.says("bury later");
        let done = ctl.run(&["drain", "--within", "0s", "--except", "failed"]);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.err.contains("2 items ready, 0 open, 1 delayed, 1 dead letter"), "{done:?}");
        assert!(done.err.contains("kqueuectl status up"), "{done:?}");
        assert_eq!(ctl.says("status"), "READONLY\n");

        let mut drain = ctl.command(&["drain", "--json", "--every", "1ms", "--except", "failed"]);
        let child = drain.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("it can be run");
        let mut progress = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        let mut until = |wanted: &str| {
            while !line.contains(wanted) {
                line.clear();
                assert!(progress.read_line(&mut line).expect("it tells") > 0, "{wanted}");
            }
        };
        until("2 items ready, 0 open");
        let mut wire = daemon.connect();
        wire.get("jobs");
        wire.get("jobs/open");
        until("0 items ready, 1 open");
        assert!(child.try_wait().expect("it can be asked").is_none(), "it waits for what is open");
        wire.ask(b"get jobs/close\r\n", b"END\r\n");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let told: Value = serde_json::from_slice(&output.stdout).expect("an object");
        assert_eq!(
            told,
            json!({ "drained": true, "ready": 0, "open": 0, "delayed": 1, "dead": 1 })
        );
    }

    #[test]
    fn ping_tells_what_answers() {
        let (daemon, ctl) = started("");
        let said = ctl.says("ping");
        assert!(said.starts_with(&format!("{}: kqueue/1.", daemon.address())), "{said}");
        assert!(said.contains(", UP, ") && said.contains("browse"), "{said}");
        let told = ctl.objects("version").remove(0);
        assert!(told["capabilities"].as_array().is_some_and(|c| c.contains(&json!("browse"))));
        let socket = Ctl::at(&format!("unix:{}", daemon.socket().display()));
        assert_eq!(socket.objects("ping")[0]["version"], told["version"]);
    }

    #[test]
    fn who_is_not_there_or_is_somebody_else_is_told() {
        let (daemon, ctl) = started("");
        let text = format!("unix:{}", daemon.text_socket().display());
        let said = Ctl::at(&text).fails(1, "ping");
        assert!(said.contains("does not answer like a kqueue-server"), "{said}");
        daemon.kill();
        let said = ctl.fails(4, "ping");
        assert!(said.contains("is kqueue-server running there?"), "{said}");
        ctl.fails(4, "put jobs x");
        ctl.fails(4, "-s unix:/nowhere/at/all stats");
        ctl.fails(2, "put");
    }
}

/// The completions are scripts that their shell can read.
#[test]
fn completions_are_understood_by_bash() {
    let ctl = Ctl::at("127.0.0.1:1");
    let script = ctl.says("generate completions bash");
    assert!(script.contains("kqueuectl"));
    run(Command::new("bash").args(["-n", "-c", &script]));
}

/// The manual's session is repeated; numbers, times and the server's address may differ.
#[test]
fn the_manual_shows_what_is_printed() {
    let daemon = Daemon::start("");
    let manual = std::fs::read_to_string(repository().join("docs/kqueuectl.md"));
    let manual = manual.expect("the manual");
    let session = manual.split("```console\n").nth(1).and_then(|rest| rest.split("\n```").next());
    let directory = ctl_binary().parent().expect("it lies somewhere").to_path_buf();
    let path = std::env::var("PATH").expect("there are programs");
    let path = format!("{}:{path}", directory.display());
    let mut commands = 0;
    for shown in format!("\n{}", session.expect("a session")).split("\n$ ").skip(1) {
        let (command, expected) = shown.split_once('\n').expect("a command and what it printed");
        let mut shell = Command::new("sh");
        shell.env("PATH", &path).env("KQUEUE_SERVER", daemon.address().to_string());
        let output = shell.args(["-c", &format!("exec 2>&1; {command}")]).output();
        let printed = String::from_utf8(output.expect("it can be run").stdout).expect("text");
        let printed = printed.replace(&daemon.address().to_string(), "127.0.0.1:22133");
        assert_eq!(without_numbers(&printed), without_numbers(expected), "{command}: {printed}");
        commands += 1;
    }
    assert!(commands >= 8, "{commands}");
}

/// The words of each line; those with a large number or a time are the same.
fn without_numbers(text: &str) -> Vec<Vec<String>> {
    let word = |word: &str| {
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let is_time = ["ms", "s"].contains(&unit) || word.ends_with('Z');
        let digits = word.chars().filter(char::is_ascii_digit).count();
        match digits > 8 || is_time && digits > 0 {
            true => "#".to_owned(),
            false => word.to_owned(),
        }
    };
    text.lines().map(|line| line.split_whitespace().map(word).collect()).collect()
}
