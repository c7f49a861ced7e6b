//! The man pages and the completions, made from the command line's definition.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::{Arguments, Generate};
use crate::error::{Error, Result};
use crate::output::Output;

pub(crate) fn generate(what: &Generate, out: &mut Output) -> Result<()> {
    match what {
        Generate::Man { directory } => man(directory),
        Generate::Completions { shell } => out.bytes(&completions(*shell)),
    }
}

fn man(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), directory))
        .map_err(|error| Error::Failed(format!("cannot write to {}: {error}", directory.display())))
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "kqueuectl", &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let directory = tempfile::tempdir().expect("a directory");
        let inside = directory.path().join("man1");
        man(&inside).expect("it can be written");
        for command in Arguments::command().get_subcommands() {
            let page = inside.join(format!("kqueuectl-{}.1", command.get_name()));
            let text = fs::read_to_string(&page).expect("a page");
            assert!(text.contains(".SH NAME") && text.contains(".SH OPTIONS"), "{text}");
        }
        let text = fs::read_to_string(inside.join("kqueuectl.1")).expect("a page");
        assert!(text.contains("Exit codes") && text.contains("KQUEUE_SERVER"), "{text}");
        let file = inside.join("kqueuectl.1");
        assert!(matches!(man(&file), Err(Error::Failed(_))));
    }

    #[test]
    fn every_shell_completes_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = String::from_utf8(completions(shell)).expect("text");
            for command in Arguments::command().get_subcommands() {
                assert!(text.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }
}
