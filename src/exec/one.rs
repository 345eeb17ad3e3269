//! One step in a process of its own, for the commands that work on a file at hand.

use std::sync::atomic::AtomicBool;

use serde_json::Value;

use super::child::{self, Program};
use super::order::Task;
use super::{WorkOrder, block_on};
use crate::steps::{EventSink, StepError, StepSpec};

/// Runs `spec` in a child process of this program and returns its result; its standard error is
/// this process's own.
///
/// # Errors
/// The step's own failure, or in words how the process died: a signal, a panic, the time limit.
pub fn run_one(
    spec: StepSpec,
    threads: usize,
    cancelled: &AtomicBool,
    events: &dyn EventSink,
) -> Result<Value, StepError> {
    let order = WorkOrder { tasks: vec![Task { spec, record: None }], threads };
    let program = Program::this()?;
    // One task in, one answer out.
    let done = block_on(child::run(&program, &order, None, cancelled, &[events]))??.remove(0);
    Ok(done?.result)
}
