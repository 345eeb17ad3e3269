//! Scheduler, worker processes, events, cancellation. Knows nothing of terminals or formats.

mod child;
mod commit;
mod death;
mod executor;
mod guard;
mod observer;
mod one;
mod order;
mod os;
mod outbox;
mod scheduler;
mod slots;
mod step_log;
pub mod worker;

#[cfg(test)]
mod child_tests;
#[cfg(test)]
mod scheduler_tests;

pub use child::Success;
pub use commit::take_in_all;
pub use executor::{Executor, Outcome, Pending, Work, Workers};
pub use observer::{RunObserver, StepReport, Summary};
pub use one::run_one;
pub use order::{Claim, Record, Task, WorkOrder};
pub use scheduler::{Options, run};

use crate::steps::{ErrorClass, StepError};

/// Runs a future to its end on this thread. Workers are started from this thread and no other: the
/// kernel's parent-death signal follows the thread that started a process.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, StepError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| StepError::new(ErrorClass::Host, format!("cannot start the runtime: {e}")))?;
    Ok(runtime.block_on(future))
}
