//! `qrun completions`: what a shell needs to complete command lines of qrun.

use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, CliError, output};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Where they go:\n  \
        bash  qrun completions bash > ~/.local/share/bash-completion/completions/qrun\n  \
        zsh   qrun completions zsh > ~/.zfunc/_qrun    (with fpath+=~/.zfunc before compinit)\n  \
        fish  qrun completions fish > ~/.config/fish/completions/qrun.fish")]
pub struct Args {
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(), "qrun", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// The command line without what is hidden in the help, which would be completed too.
fn visible() -> Command {
    let qrun = Cli::command();
    Command::new("qrun")
        .version(env!("CARGO_PKG_VERSION"))
        .args(qrun.get_arguments().cloned())
        .subcommands(qrun.get_subcommands().filter(|c| !c.is_hide_set()).cloned())
}
