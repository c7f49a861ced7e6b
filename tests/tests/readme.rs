//! What the documents say is tried: the PHP of the README runs, links lead somewhere, the annotated configuration is accepted.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use kqueue_tests::{
    Daemon, Fpm, ctl_binary, daemon_binary, extension, php, repository, run, run_with_input,
};
use rustix::process::{Pid, Signal, kill_process};

fn php_blocks(markdown: &str) -> Vec<String> {
    let blocks = markdown.split("```php\n").skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

#[test]
fn the_php_of_the_readme_runs() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("the README");
    let blocks = php_blocks(&readme);
    let [push, work] = &blocks[..] else { panic!("two blocks of PHP, not {}", blocks.len()) };
    let daemon = Daemon::start("");
    let here = |code: &str| {
        assert!(code.contains("127.0.0.1:22133"), "the default address: {code}");
        code.replace("127.0.0.1:22133", &daemon.address().to_string())
    };
    assert!(php(&here(push)).starts_with("queued as "));
    assert_eq!(daemon.stat("queue_posts_items").as_deref(), Some("1"));
    assert_eq!(php(&here(work)), "{\"title\":\"Hello\"}\n");
    assert_eq!(daemon.stat("curr_items").as_deref(), Some("0"));
}

#[test]
fn the_examples_run() {
    let daemon = Daemon::start("");
    let example = |name: &str, arguments: &[&str]| run(php_with(&daemon, name).args(arguments));
    let lines: String = (0..2500).map(|n| format!("{n}\n")).collect();
    let batch = |what| run_with_input(php_with(&daemon, "batch.php").args([what, "many"]), &lines);
    assert_eq!(batch("put"), "2500 lines are on the queue\n");
    assert_eq!(batch("take"), "2500 items are stored\n");
    example("push.php", &["jobs", "an item"]);
    assert_eq!(daemon.stat("queue_jobs_items").as_deref(), Some("1"));
    assert!(example("worker.php", &["jobs", "1"]).contains("an item"));
    assert_eq!(daemon.stat("curr_items").as_deref(), Some("0"));
}

/// Each block is a program of its own, with the default servers.
#[test]
fn the_php_of_the_manual_runs() {
    let manual = fs::read_to_string(repository().join("docs/php.md")).expect("docs/php.md");
    let blocks = php_blocks(&manual);
    assert!(blocks.len() >= 4);
    for block in blocks {
        let daemon = Daemon::start("");
        let settings = format!(
            "<?php ini_set('kqueue.servers', '{}'); ini_set('zend.assertions', 1); ",
            daemon.address()
        );
        php(&block.replacen("<?php", &settings, 1));
    }
}

/// As a supervisor runs it: SIGTERM finishes the item in hand.
#[test]
fn the_worker_finishes_its_item_when_it_is_told_to_stop() {
    let daemon = Daemon::start("");
    let mut worker = php_with(&daemon, "worker_loop.php");
    let mut worker = worker.arg("jobs").stdout(Stdio::piped()).spawn().expect("php");
    let mut said = BufReader::new(worker.stdout.take().expect("its output"));
    let mut wire = daemon.connect();
    wire.put("jobs", b"no JSON");
    wire.put("jobs", b"{}");
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    assert_eq!(line, "done: []\n");
    assert_eq!(daemon.stat("queue_jobs_dead_items").as_deref(), Some("1"));
    let pid = Pid::from_raw(worker.id().cast_signed()).expect("a pid");
    kill_process(pid, Signal::TERM).expect("it lives");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("its last line");
    assert!(rest.starts_with("worked for "), "{rest}");
    assert_eq!(worker.wait().expect("it has ended").code(), Some(0));
    assert_eq!(daemon.stat("queue_jobs_items").as_deref(), Some("0"));
    assert_eq!(daemon.stat("queue_jobs_open_transactions").as_deref(), Some("0"));
}

/// A real php-fpm runs the page.
#[test]
fn the_page_publishes_and_says_so_when_it_cannot() {
    let daemon = Daemon::start("");
    let servers = format!("kqueue.servers={}", daemon.address());
    let fpm = Fpm::start(1, &[&servers]);
    let page = fs::read_to_string(repository().join("php/examples/publish.php")).expect("the page");
    let code = page.split_once("declare(strict_types=1);").expect("the page's code").1;
    fpm.script("publish", &format!("$_POST = ['title' => 'Hello'];\n{code}"));
    fpm.script("bad", code);
    assert!(fpm.get("publish").contains("queued as "));
    assert!(fpm.get("bad").contains("a title is missing"));
    assert_eq!(daemon.connect().get("posts").as_deref(), Some(&b"{\"title\":\"Hello\"}"[..]));
    daemon.kill();
    assert!(fpm.get("publish").contains("please try again"));
}

fn php_with(daemon: &Daemon, example: &str) -> Command {
    let mut command = Command::new("php");
    command.arg("-n").arg("-d").arg(format!("extension={}", extension().display()));
    command.arg("-d").arg(format!("kqueue.servers={}", daemon.address()));
    command.arg(repository().join("php/examples").join(example));
    command
}

#[test]
fn links_lead_somewhere() {
    let root = repository();
    let mut documents = vec![root.join("README.md")];
    collect(&root.join("docs"), "md", &mut documents);
    let mut links = 0;
    for document in documents {
        let text = fs::read_to_string(&document).expect("a document");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (target, heading) = link.split_once('#').unwrap_or((link, ""));
            if target.contains("://") {
                continue;
            }
            links += 1;
            let directory = document.parent().expect("a file lies in a directory");
            let target = match target {
                "" => document.clone(),
                target => directory.join(target),
            };
            let message = format!("{}: {link}", document.display());
            assert!(target.exists(), "{message}");
            if !heading.is_empty() {
                let text = fs::read_to_string(target).expect("a document");
                assert!(headings(&text).any(|found| found == heading), "{message}");
            }
        }
    }
    assert!(links > 5);
}

#[test]
fn what_is_installed_finds_itself_and_a_configuration_that_is_there_stays() {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name);
    fs::create_dir_all(path("target/release")).expect("a directory");
    for (program, name) in [(daemon_binary(), "kqueue-server"), (ctl_binary(), "kqueuectl")] {
        let link = path("target/release").join(name);
        std::os::unix::fs::symlink(program, link).expect("a link");
    }
    let install = |prefix: &str| {
        let mut make = Command::new("make");
        make.current_dir(repository()).arg("install").arg(format!("PREFIX={prefix}"));
        make.arg(format!("TARGET={}", path("target").display()));
        run(make.arg(format!("DESTDIR={}", root.path().display())))
    };
    for prefix in ["/usr", "/usr/local"] {
        install(prefix);
        let unit = format!("{}/lib/systemd/system/kqueue-server.service", &prefix[1..]);
        let unit = fs::read_to_string(path(&unit)).expect("the unit");
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart="));
        let mut words = start
            .expect("it starts something")
            .split(' ')
            .map(|word| word.trim_matches(['/', '-']));
        let program = words.next().expect("a program");
        assert_eq!(program, format!("{}/bin/kqueue-server", &prefix[1..]));
        assert!(run(Command::new(path(program)).arg("--version")).starts_with("kqueue-server "));
        let beside = path(program).with_file_name("kqueuectl");
        assert!(run(Command::new(beside).arg("--version")).starts_with("kqueuectl "));
        let share = path(&prefix[1..]).join("share");
        for page in ["kqueuectl.1", "kqueuectl-put.1"] {
            let text = fs::read_to_string(share.join("man/man1").join(page)).expect("a man page");
            assert!(text.contains(".SH OPTIONS"), "{text}");
        }
        for completion in [
            "bash-completion/completions/kqueuectl",
            "zsh/site-functions/_kqueuectl",
            "fish/vendor_completions.d/kqueuectl.fish",
        ] {
            let text = fs::read_to_string(share.join(completion)).expect("a completion");
            assert!(text.contains("reserve"), "{completion}");
        }
        assert_eq!((words.next(), words.next()), (Some("config"), Some("etc/kqueue.toml")));
    }
    let config = path("etc/kqueue.toml");
    let sample = fs::read(repository().join("packaging/kqueue.toml")).expect("the sample");
    assert_eq!(fs::read(&config).expect("it was made"), sample);
    fs::write(&config, "# ours\n").expect("written");
    install("/usr");
    assert_eq!(fs::read(config).expect("it is there"), b"# ours\n");
}

/// What a document says from a heading on: every row of its tables that is not left out names a test, and that exists. Answers how many there are.
fn rows_with_tests(document: &str, heading: &str) -> usize {
    let docs = repository().join("docs");
    let text = fs::read_to_string(docs.join(document)).expect("a document");
    let (_, tables) = text.split_once(&format!("\n{heading}\n")).expect("the heading");
    let mut rows = 0;
    let mut is_with_tests = false;
    for line in tables.lines() {
        let is_head = line.ends_with("| test |");
        is_with_tests = is_head || is_with_tests && line.starts_with('|');
        if is_head || !is_with_tests || line.starts_with("|-") {
            continue;
        }
        let tests: Vec<(&str, &str)> = line
            .split('[')
            .filter_map(|part| part.split_once("]("))
            .filter_map(|(name, rest)| Some((name, rest.split_once(')')?.0)))
            .filter(|(_, file)| file.ends_with(".rs"))
            .collect();
        assert!(!tests.is_empty() || line.contains("| not there"), "no test: {line}");
        rows += 1;
        for (name, file) in tests {
            let source = fs::read_to_string(docs.join(file)).expect(line);
            // By itself, or among the cases of a client.
            let is_there = source.contains(&format!("#[test]\nfn {name}()"))
                || source.contains(&format!("#[tokio::test]\nasync fn {name}()"))
                || source.contains(&format!("#[test]\n    fn {name}("))
                || source.lines().any(|line| line.trim() == name);
            assert!(is_there, "{file} has no test {name}: {line}");
        }
    }
    rows
}

#[test]
fn every_command_and_every_row_of_kestrels_has_a_test() {
    let rows = rows_with_tests("protocol.md", "### Each command and its test");
    assert!(rows > 120, "{rows}");
}

#[test]
fn every_step_of_an_items_life_has_a_test() {
    assert_eq!(rows_with_tests("architecture.md", "## The life of an item"), 15);
}

/// Whatever the server says in its log, by how it begins.
#[test]
fn every_line_of_the_log_is_in_the_manual() {
    let root = repository();
    let manual = fs::read_to_string(root.join("docs/operating.md")).expect("the manual");
    let mut sources = Vec::new();
    collect(&root.join("crates/kqueue-server/src"), "rs", &mut sources);
    let mut lines = 0;
    for source in sources.iter().filter(|path| !path.ends_with("tests.rs")) {
        let text = fs::read_to_string(source).expect("a source");
        for level in ["info!(", "warn!(", "error!("] {
            for call in text.split(level).skip(1) {
                let Some(literal) = call.trim_start().strip_prefix('"') else { continue };
                let literal = literal.split('"').next().unwrap_or_default();
                let literal = literal.replace("{SUPERBLOCK_FILE}", "journal.kq");
                let Some(known_by) = known_by(&literal) else { continue };
                lines += 1;
                let message = format!("{}: {literal}: no `{known_by}`", source.display());
                assert!(manual.contains(known_by), "{message}");
            }
        }
    }
    assert!(lines > 50, "{lines}");
}

/// By what a line of the log can be found: the beginning of its first words, or of the most that stand together if these are few. Nothing if somebody
/// else says all of it.
fn known_by(literal: &str) -> Option<&str> {
    let parts = literal.split('{').enumerate();
    let fixed = parts.map(|(number, part)| match part.split_once('}') {
        Some((_, behind)) if number > 0 => behind,
        _ => part,
    });
    let fixed: Vec<&str> = fixed.map(|part| part.trim_matches([' ', ':', ';', ','])).collect();
    let first = fixed.iter().copied().find(|part| !part.is_empty())?;
    let longest = fixed.iter().copied().max_by_key(|part| part.len())?;
    let words = if first.len() >= 8 { first } else { longest };
    let end = words.char_indices().nth(20).map_or(words.len(), |(at, _)| at);
    Some(words[..end].trim_end())
}

/// The headings of a document as links name them.
fn headings(markdown: &str) -> impl Iterator<Item = String> {
    let titles = markdown.lines().filter(|line| line.starts_with('#'));
    titles.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|&c| c.is_alphanumeric() || c == '-' || c == '_').collect()
    })
}

/// All files below a directory whose names end so.
fn collect(directory: &Path, ending: &str, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

/// As it stands, and with every line that shows a default or an example switched on.
#[test]
fn the_annotated_configuration_is_accepted() {
    let text = fs::read_to_string(repository().join("packaging/kqueue.toml")).expect("the file");
    let is_setting = |line: &&str| !line.starts_with('#') || !line.starts_with("# ");
    let all: Vec<&str> =
        text.lines().filter(is_setting).map(|l| l.trim_start_matches('#')).collect();
    for text in [text.clone(), all.join("\n")] {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        let mut text = text
            .replace("/var/lib/kqueue", &data.display().to_string())
            .replace("\"64MiB\"", "\"2MiB\"");
        for port in [22133, 2222, 2229, 2223] {
            text = text.replace(&format!("127.0.0.1:{port}\""), "127.0.0.1:0\"");
        }
        let config = directory.path().join("k.toml");
        fs::write(&config, &text).expect("a file");
        // An error would end it with 2; asked for nothing else, it says that it is ready.
        let mut child = Command::new(daemon_binary())
            .arg("--config")
            .arg(&config)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("it can be run");
        let log = std::io::BufReader::new(child.stderr.take().expect("piped"));
        let is_ready =
            std::io::BufRead::lines(log).map_while(Result::ok).any(|l| l.contains("ready"));
        child.kill().expect("it can be ended");
        child.wait().expect("it ends");
        assert!(is_ready, "{text}");
    }
}
