//! How a step fails: a message that says what, where, expected, found and what to do, and a class
//! that decides the exit code.

use std::fmt::Display;
use std::io;

use camino::Utf8Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files;

/// What kind of failure it is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The step itself failed (exit code 1).
    Step,
    /// The command line or the manifest is wrong (2).
    Usage,
    /// An input is missing or is not what it should be (3).
    Input,
    /// The host cannot do it: RAM, disk, permissions (4).
    Host,
    /// Stopped by a signal (130).
    Interrupted,
}

impl ErrorClass {
    /// The process exit code of this class.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorClass::Step => 1,
            ErrorClass::Usage => 2,
            ErrorClass::Input => 3,
            ErrorClass::Host => 4,
            ErrorClass::Interrupted => 130,
        }
    }
}

/// The failure of a step.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// Decides the exit code.
    pub class: ErrorClass,
    /// The whole story in one or more lines.
    pub message: String,
}

impl StepError {
    /// A failure of `class`.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }

    /// The step itself failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Step, message)
    }

    /// What was asked for makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Usage, message)
    }

    /// An input is missing or not what it should be.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Input, message)
    }

    /// The host cannot do it.
    pub fn host(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Host, message)
    }

    /// What nobody but a programmer can mend.
    pub fn bug(what: impl Display) -> Self {
        Self::failed(format!("{what}: a bug in qrun"))
    }

    /// The input at `path` cannot be read.
    pub fn unreadable(path: &Utf8Path, error: &io::Error) -> Self {
        Self::input(format!("cannot read {path}: {error}"))
    }

    /// An error together with its chain of sources, joined by `: `. A source that the message
    /// before it ends with already is not repeated.
    pub fn from_error(class: ErrorClass, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(e) = source {
            let text = e.to_string();
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = e.source();
        }
        Self { class, message }
    }

    /// The failure of a step that was told to stop.
    pub fn interrupted() -> Self {
        Self::new(
            ErrorClass::Interrupted,
            "interrupted; the same command goes on where this one was, as far as it can",
        )
    }
}

impl From<files::Error> for StepError {
    fn from(error: files::Error) -> Self {
        let class = match error {
            files::Error::Name(_) => ErrorClass::Usage,
            files::Error::Refused(_) => ErrorClass::Host,
        };
        Self::from_error(class, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot open x: {0}")]
        Shown(#[source] std::io::Error),
        #[error("cannot open x")]
        Hidden(#[source] std::io::Error),
    }

    #[test]
    fn every_cause_is_told_once() {
        let cause = || std::io::Error::other("no such thing");
        for error in [Outer::Shown(cause()), Outer::Hidden(cause())] {
            let message = StepError::from_error(ErrorClass::Input, &error).message;
            assert_eq!(message, "cannot open x: no such thing");
        }
    }
}
