//! What of processes depends on the operating system: groups, the end of a parent, what a signal is
//! called. Beside this only `files` knows one; this is the version for Unix.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::process::{Pid, Signal, getppid, kill_process_group, set_parent_process_death_signal};
use signal_hook::consts::SIGTSTP;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tokio::process::{Child, Command};

/// The groups there are now, by the process that leads each.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn groups() -> MutexGuard<'static, BTreeSet<i32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process and all that it started.
#[derive(Debug)]
pub struct Group(Pid);

/// Lets what `command` starts be the head of a [`Group`] of its own, named `name` in listings of
/// processes: Ctrl-C on the terminal reaches this process only.
pub fn lead_group<'c>(command: &'c mut Command, name: &str) -> &'c mut Command {
    command.arg0(name).process_group(0)
}

impl Group {
    /// The group of a process that leads one; `None` if it has ended.
    pub fn of(child: &Child) -> Option<Self> {
        let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()))?;
        groups().insert(leader.as_raw_nonzero().get());
        Some(Self(leader))
    }

    /// Asks it to stop. It may have ended by itself in this moment.
    pub fn terminate(&self) {
        let _ = kill_process_group(self.0, Signal::TERM);
    }

    /// Ends it. It may have ended by itself in this moment.
    pub fn kill(&self) {
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        groups().remove(&self.0.as_raw_nonzero().get());
    }
}

/// Lets Ctrl-Z stop the groups, too, which the terminal does not know, and go on with this process.
///
/// # Errors
/// If the signal cannot be caught; then it stops this process alone.
pub fn pause_together() -> io::Result<()> {
    static BEGUN: Once = Once::new();
    let mut result = Ok(());
    BEGUN.call_once(|| {
        let listen = |mut signals: Signals| {
            for signal in signals.forever() {
                signal_all(Signal::STOP);
                // Returns when somebody lets this process go on.
                let _ = emulate_default_handler(signal);
                signal_all(Signal::CONT);
            }
        };
        let spawn = |signals| std::thread::Builder::new().spawn(move || listen(signals));
        result = Signals::new([SIGTSTP]).and_then(spawn).map(drop);
    });
    result
}

fn signal_all(signal: Signal) {
    for leader in groups().iter().filter_map(|leader| Pid::from_raw(*leader)) {
        // One that has ended needs no signal.
        let _ = kill_process_group(leader, signal);
    }
}

/// Makes the kernel kill this process when its parent ends; returns whether that is still `parent`.
///
/// # Errors
/// If the kernel refuses.
pub fn die_with(parent: u32) -> io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before the request took hold.
    Ok(getppid().is_some_and(|p| p.as_raw_nonzero().get().cast_unsigned() == parent))
}

/// The signal that ended a process, and whether it left a core; `None` if none did.
pub fn signal(status: ExitStatus) -> Option<(i32, bool)> {
    status.signal().map(|signal| (signal, status.core_dumped()))
}

/// What a signal is called.
pub fn signal_name(signal: i32) -> Option<&'static str> {
    signal_hook::low_level::signal_name(signal)
}
