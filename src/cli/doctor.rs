//! `qrun doctor`: what this host is, and whether it can do a job.

use std::process::ExitCode;

use bytesize::ByteSize;

use super::{CliError, output};
use crate::metrics::host::HostFacts;

/// Show the host: CPU, cores, memory, kernel
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let facts = HostFacts::gather();
    if args.json {
        return output::print_json(&facts);
    }
    output::print(&describe(&facts))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(facts: &HostFacts) -> String {
    let size = |bytes| ByteSize(bytes).display().si();
    format!(
        "CPU       {} ({})\ncores     {}, {} threads for qrun\nfeatures  {}\n\
         RAM       {}, {} available\nkernel    {}\ngovernor  {}\nload      {:.2} over the last minute",
        facts.cpu_model,
        facts.architecture,
        facts.cores,
        facts.threads,
        facts.features.join(" "),
        size(facts.ram_bytes),
        size(facts.available_ram_bytes),
        facts.kernel,
        facts.governor.as_deref().unwrap_or("not shown by this kernel"),
        facts.load_1m,
    )
}
