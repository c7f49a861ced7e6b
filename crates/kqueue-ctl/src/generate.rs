//! Man pages and completions, from the definition of the command line.

use std::io;

use clap::CommandFactory;

use crate::cli::{Arguments, Generate};
use crate::error::{Error, Result};

pub(crate) fn generate(what: &Generate) -> Result<()> {
    let mut command = Arguments::command();
    match what {
        Generate::Man { directory } => clap_mangen::generate_to(command, directory)
            .map_err(|error| Error::Here(format!("{}: {error}", directory.display()))),
        Generate::Completions { shell } => {
            clap_complete::generate(*shell, &mut command, "kqueuectl", &mut io::stdout());
            Ok(())
        }
    }
}
