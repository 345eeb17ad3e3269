//! `qrun completions`: what a shell needs to complete command lines of qrun.

use std::process::ExitCode;

use clap::CommandFactory;
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
    clap_complete::generate(args.shell, &mut Cli::command(), "qrun", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
