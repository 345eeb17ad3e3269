//! How a worker died, in words.

use std::process::ExitStatus;

use super::os;
use crate::steps::{ErrorClass, StepError};

/// The failure of a worker that ended without saying how its step went.
pub fn describe(status: ExitStatus) -> StepError {
    let message = match (os::signal(status), status.code()) {
        (Some((9, _)), _) => {
            "its process was killed by SIGKILL (signal 9), which qrun did not send: \
            most likely the kernel was out of memory (`dmesg` says so); free memory, or give the \
            machine more, and run again"
                .to_owned()
        }
        (Some((signal, dumped)), _) => {
            let name = os::signal_name(signal).unwrap_or("a signal");
            let core = if dumped { ", core dumped" } else { "" };
            format!("its process was killed by {name} (signal {signal}{core})")
        }
        (None, Some(101)) => {
            "its process panicked (exit code 101): a bug in qrun; the step's log has the message"
                .to_owned()
        }
        (None, code) => format!(
            "its process ended with exit code {} and without a result; the step's log has its \
             last words",
            code.map_or_else(|| "unknown".to_owned(), |c| c.to_string())
        ),
    };
    StepError::new(ErrorClass::Step, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_signal_is_named_and_a_kill_explained() {
        assert!(describe(ExitStatus::from_raw(11)).message.contains("SIGSEGV (signal 11)"));
        assert!(describe(ExitStatus::from_raw(9)).message.contains("out of memory"));
        assert!(describe(ExitStatus::from_raw(101 << 8)).message.contains("panicked"));
        assert!(describe(ExitStatus::from_raw(7 << 8)).message.contains("exit code 7"));
    }
}
