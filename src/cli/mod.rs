//! The command line: one file per subcommand, each parses, calls the library and prints.

/// Runs the command line of this process and returns its exit code.
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
