//! `qrun schema`: the JSON schema of the manifest.

use std::process::ExitCode;

use super::{CliError, output};

/// Print the JSON schema of the manifest
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Editors that know TOML check a manifest against it: begin the manifest with\n\
                  `#:schema ../schemas/job.schema.json`."
)]
pub struct Args {}

/// Runs the command.
pub fn run() -> Result<ExitCode, CliError> {
    output::print_json(&crate::manifest::schema())
}
