//! `qrun man`: manual pages, from the same words as `--help`.

use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, CliError, output};
use crate::files::write_atomic;
use crate::steps::{ErrorClass, StepError};

/// Print a manual page, or write them all
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:\n  \
        qrun man quantize | man -l -\n  \
        qrun man --out ~/.local/share/man/man1     and from then on: man qrun-quantize")]
pub struct Args {
    /// The command that the page is of, such as `quantize` or `cache gc` [default: qrun itself]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write qrun.1 and a page for each command into DIR, in place of those that are there
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    out: Option<Utf8PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let mut qrun = Cli::command().disable_help_subcommand(true);
    // Only then does each command have its whole name.
    qrun.build();
    let Some(directory) = &args.out else {
        let (_, page) = page(find(&qrun, &args.command)?)?;
        output::print(&String::from_utf8_lossy(&page))?;
        return Ok(ExitCode::SUCCESS);
    };
    let pages = with_subcommands(&qrun);
    for command in &pages {
        let (name, page) = page(command)?;
        write_atomic(&directory.join(name), &page, true).map_err(StepError::from)?;
    }
    output::tell(&format!("{} pages in {directory}", pages.len()))?;
    Ok(ExitCode::SUCCESS)
}

/// The command that `words` name, each below the one before.
fn find<'c>(qrun: &'c Command, words: &[String]) -> Result<&'c Command, CliError> {
    words.iter().try_fold(qrun, |command, word| {
        command.find_subcommand(word).ok_or_else(|| {
            let known: Vec<&str> = visible(command).map(Command::get_name).collect();
            let known = match known.as_slice() {
                [] => "it has none".to_owned(),
                known => format!("expected one of {}", known.join(", ")),
            };
            CliError::usage(format!("`{}` has no command `{word}`; {known}", command.get_name()))
        })
    })
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|c| !c.is_hide_set())
}

fn with_subcommands(command: &Command) -> Vec<&Command> {
    let below = visible(command).flat_map(with_subcommands);
    std::iter::once(command).chain(below).collect()
}

/// The name and the text of the page of `command`.
fn page(command: &Command) -> Result<(String, Vec<u8>), CliError> {
    let man = Man::new(command.clone()).source(concat!("qrun ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render(&mut page).map_err(|e| CliError::from_error(ErrorClass::Step, &e))?;
    Ok((man.get_filename(), page))
}
