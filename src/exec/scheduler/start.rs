//! Starts a step: its log, what the state and its worker have to know, the work itself.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::task::JoinSet;

use super::{Ended, Running, Scheduler};
use crate::exec::commit;
use crate::exec::executor::Work;
use crate::exec::observer::StepReport;
use crate::exec::order::{Claim, Record, WorkOrder};
use crate::exec::step_log::{StepLog, Tee};
use crate::plan::{Launch, StepState};
use crate::state::Status;
use crate::steps::{EventSink, StepError};

impl Scheduler<'_> {
    pub(super) fn start(
        &mut self,
        step: usize,
        launch: Launch,
        tasks: &mut JoinSet<Ended>,
    ) -> Result<(), StepError> {
        let run = self.begin()?;
        let node = self.plan.graph().node(step).clone();
        let log = StepLog::create(&self.state()?.logs(run), step, &node.id)?;
        let stderr = log.handle();
        let report = StepReport {
            log: Some(log.path.clone()),
            ..self.report_of(step, Status::Running, None)
        };
        let events = Arc::new(Tee { step, log: Mutex::new(log), to: self.tell.clone() });
        let record = match self.announce(&node.id, &launch, &*events) {
            Ok(record) => record,
            Err(error) => return self.fail(step, error, None),
        };
        let work = Work {
            order: WorkOrder {
                spec: launch.spec.clone(),
                threads: self.options.threads,
                record: Some(record),
            },
            log: stderr,
            cancelled: Arc::clone(&self.cancelled),
            events: events.clone(),
        };
        self.plan.set_state(step, StepState::Running);
        self.slots.take(step, node.draft.load());
        self.running.insert(step, Running { started: Instant::now(), launch, events });
        self.record(step, &report)?;
        self.observer.started(&node.id);
        let future = self.executor.execute(work);
        tasks.spawn_local(async move { (step, future.await) });
        Ok(())
    }

    /// Notes that a step is going to be done, and says what its worker has to know.
    fn announce(
        &self,
        id: &str,
        launch: &Launch,
        events: &dyn EventSink,
    ) -> Result<Record, StepError> {
        let (job, state) = (&self.plan.job, self.state()?);
        let outs = launch.spec.model_files()?;
        let record = Record {
            workspace: job.workspace.clone(),
            job: job.name.clone(),
            manifest: job.manifest.clone(),
            step: id.to_owned(),
            key: launch.key.clone(),
            ingredients: launch.ingredients.clone(),
            reads: launch.reads.iter().map(Claim::from).collect(),
            replaces: commit::own_files(state, &outs)?,
            redo: launch.redo,
        };
        commit::announce(state, &record, &outs, events)?;
        Ok(if self.executor.is_local() { record } else { record.for_elsewhere() })
    }
}
