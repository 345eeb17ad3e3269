//! Paths as they are typed: what a shell would have expanded and did not is refused, instead of
//! being looked for, or made, under that very name.

use camino::Utf8PathBuf;
use clap::builder::ValueParser;
use clap::{Command, value_parser};

use crate::manifest::check_path;

/// `command` with every path of it, and of its subcommands, checked: the type of an argument says
/// that it is one, so none can be forgotten.
pub fn checked(command: Command) -> Command {
    let path_type = ValueParser::from(value_parser!(Utf8PathBuf)).type_id();
    command
        .mut_args(|arg| match arg.get_value_parser().type_id() == path_type {
            true => arg.value_parser(path),
            false => arg,
        })
        .mut_subcommands(checked)
}

/// A path on the command line.
///
/// # Errors
/// If it is empty, a URL, or has a `~` or a variable in it, as in `--corpus=~/text` or `'$HOME/x'`.
pub fn path(text: &str) -> Result<Utf8PathBuf, String> {
    if text.is_empty() {
        return Err("it is empty: expected a path".to_owned());
    }
    check_path(text).map_err(|e| e.to_string())?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_refuses_what_is_no_path() {
        for words in [
            &["convert", "hf://openai/gpt-oss-20b", "out.gguf"][..],
            &["convert", "in", "s3://bucket/out.gguf"],
            &["quantize", "in.gguf", "~/out.gguf", "--format", "q8_0"],
            &["quantize", "in.gguf", "out.gguf", "--format", "q8_0", "--imatrix=~/i.gguf"],
            &["quantize", "in", "out.gguf", "--format", "q8_0", "--tokenizer", "$HOME/t"],
            &["evaluate", "a.gguf", "--corpus=~/text"],
            &["evaluate", "a.gguf", "--corpus", "t", "--reference=https://x.org/b.gguf"],
            &["bench", "a.gguf", "~/b.gguf"],
            &["check", "me@host:a.gguf"],
            &["run", "~/job.toml"],
            &["cache", "du", "~/job.toml"],
            &["inspect", ""],
        ] {
            let error = checked(super::super::Cli::command())
                .try_get_matches_from([&["qrun"], words].concat())
                .unwrap_err();
            assert_eq!(error.kind(), clap::error::ErrorKind::ValueValidation, "{words:?}: {error}");
        }
    }
}
