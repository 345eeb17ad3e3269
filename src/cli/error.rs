//! What a subcommand fails with: a class that decides the exit code, and what to show.

use std::error::Error;

use crate::steps::{ErrorClass, StepError};

/// The failure of a subcommand.
#[derive(Debug)]
pub struct CliError {
    class: ErrorClass,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    /// Printed after `error: `.
    Message(String),
    /// Printed with the source lines it labels.
    Diagnostic(miette::Report),
}

impl CliError {
    /// A failure of `class` with a message of its own.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, shown: Shown::Message(message.into()) }
    }

    /// A command line that clap accepts and that makes no sense all the same (exit code 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Usage, message)
    }

    /// An error with its chain of sources.
    pub fn from_error(class: ErrorClass, error: &dyn Error) -> Self {
        StepError::from_error(class, error).into()
    }

    /// A diagnostic that shows lines of a file.
    pub fn diagnostic(
        class: ErrorClass,
        diagnostic: impl miette::Diagnostic + Send + Sync + 'static,
    ) -> Self {
        Self { class, shown: Shown::Diagnostic(miette::Report::new(diagnostic)) }
    }

    /// Decides the exit code.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// The text for standard error, without a trailing newline.
    pub fn render(&self) -> String {
        match &self.shown {
            Shown::Message(message) => {
                format!("{} {message}", console::style("error:").red().bold().for_stderr())
            }
            Shown::Diagnostic(report) => format!("{report:?}").trim_end().to_owned(),
        }
    }
}

impl From<StepError> for CliError {
    fn from(error: StepError) -> Self {
        Self::new(error.class, error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_printed_once_on_one_line() {
        let error = "x".parse::<u32>().unwrap_err();
        let shown = CliError::from_error(ErrorClass::Input, &error);
        assert_eq!(shown.class().exit_code(), 3);
        assert!(shown.render().ends_with("invalid digit found in string"), "{}", shown.render());
    }
}
