//! Where the scheduler has its steps done: in worker processes, or, in tests, in something that
//! fails and dies at will.

use std::fs::File;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::WorkOrder;
use super::child::{self, Program, Success};
use crate::steps::{EventSink, StepError};

/// Steps to be done together, with what surrounds them.
pub struct Work {
    pub order: WorkOrder,
    /// Takes the worker's standard error.
    pub log: Option<File>,
    /// Set when they should stop.
    pub cancelled: Arc<AtomicBool>,
    /// What each task says.
    pub events: Vec<Arc<dyn EventSink>>,
}

/// What came of an order: of each task, or why nothing is known of any: its worker died.
pub type Outcome = Result<Vec<Result<Success, StepError>>, StepError>;

/// What will come of an order.
pub type Pending = Pin<Box<dyn Future<Output = Outcome>>>;

/// Does steps. A success is in the outbox before its future is ready.
pub trait Executor {
    /// Whether its workers are on this machine, where files and processes have the numbers that they
    /// have to the runner.
    fn is_local(&self) -> bool {
        true
    }

    /// Starts `work`.
    fn execute(&self, work: Work) -> Pending;
}

/// Worker processes of this program on this machine.
#[derive(Clone, Debug)]
pub struct Workers {
    program: Program,
}

impl Workers {
    /// Workers that run this program.
    pub fn new() -> Result<Self, StepError> {
        Ok(Self { program: Program::this()? })
    }
}

impl Executor for Workers {
    fn execute(&self, work: Work) -> Pending {
        let program = self.program.clone();
        Box::pin(async move {
            let Work { order, log, cancelled, events } = work;
            let events: Vec<&dyn EventSink> = events.iter().map(|events| &**events).collect();
            child::run(&program, &order, log, &cancelled, &events).await
        })
    }
}
