//! What a subcommand fails with: a class that decides the exit code, and what to show.

use std::error::Error;
use std::fmt;

use miette::{Diagnostic, LabeledSpan, MietteHandlerOpts, ReportHandler, SourceCode};

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
    Diagnostic(Box<dyn Diagnostic + Send + Sync>),
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

    /// An input that is missing or not what it should be (exit code 3).
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Input, message)
    }

    /// A host that cannot do it (exit code 4).
    pub fn host(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Host, message)
    }

    /// An error with its chain of sources.
    pub fn from_error(class: ErrorClass, error: &dyn Error) -> Self {
        StepError::from_error(class, error).into()
    }

    /// A diagnostic that shows lines of a file.
    pub fn diagnostic(
        class: ErrorClass,
        diagnostic: impl Diagnostic + Send + Sync + 'static,
    ) -> Self {
        Self { class, shown: Shown::Diagnostic(Box::new(diagnostic)) }
    }

    /// Decides the exit code.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// The text for standard error, without a trailing newline.
    pub fn render(&self) -> String {
        let error = console::style("error:").red().bold().for_stderr();
        match &self.shown {
            Shown::Message(message) => format!("{error} {message}"),
            Shown::Diagnostic(all) => match all.related() {
                None => Drawn(all.as_ref()).to_string().trim_end().to_owned(),
                // As a compiler does: each problem with its lines, and how many there were.
                Some(problems) => {
                    let source = all.source_code();
                    let mut text: String = problems
                        .map(|p| Drawn(&Within { problem: p, source }).to_string())
                        .collect();
                    text.push_str(&format!("{error} {all}"));
                    text
                }
            },
        }
    }
}

/// A diagnostic with the lines it labels, drawn for standard error.
struct Drawn<'a>(&'a dyn Diagnostic);

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        MietteHandlerOpts::new().build().debug(self.0, f)?;
        f.write_str("\n")
    }
}

/// One of several problems, with the source that they share.
struct Within<'a> {
    problem: &'a dyn Diagnostic,
    source: Option<&'a dyn SourceCode>,
}

impl fmt::Display for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.problem, f)
    }
}

impl fmt::Debug for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.problem, f)
    }
}

impl Error for Within<'_> {}

impl Diagnostic for Within<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.problem.labels()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source
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
