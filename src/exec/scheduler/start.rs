//! Starts steps: their logs, what the state and their worker have to know, the work itself.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::task::JoinSet;

use super::{Ended, Running, Scheduler};
use crate::exec::commit;
use crate::exec::executor::Work;
use crate::exec::observer::StepReport;
use crate::exec::order::{Claim, Record, Task, WorkOrder};
use crate::exec::outbox;
use crate::exec::step_log::{StepLog, Tee};
use crate::plan::{Launch, StepState};
use crate::state::Status;
use crate::steps::{EventSink, StepError};

impl Scheduler<'_> {
    /// Starts steps that are done together, one at least.
    pub(super) fn start(
        &mut self,
        launches: Vec<(usize, Launch)>,
        tasks: &mut JoinSet<Ended>,
    ) -> Result<(), StepError> {
        let (mut steps, mut order) = (Vec::new(), Vec::new());
        let (mut events, mut stderr) = (Vec::<Arc<dyn EventSink>>::new(), None);
        for (step, launch) in launches {
            let Some((task, tee)) = self.start_one(step, launch)? else { continue };
            if steps.is_empty() {
                stderr = tee.log.lock().ok().and_then(|log| log.handle());
                // One worker, one slot.
                self.slots.take(step, task.spec.kind().load);
            }
            steps.push(step);
            order.push(task);
            events.push(tee);
        }
        if steps.is_empty() {
            return Ok(());
        }
        let work = Work {
            order: WorkOrder { tasks: order, threads: self.options.threads },
            log: stderr,
            cancelled: Arc::clone(&self.cancelled),
            events,
        };
        let future = self.executor.execute(work);
        tasks.spawn_local(async move { (steps, future.await) });
        Ok(())
    }

    /// Notes that a step starts, and says what its worker is told; `None` if it cannot.
    fn start_one(
        &mut self,
        step: usize,
        launch: Launch,
    ) -> Result<Option<(Task, Arc<Tee>)>, StepError> {
        let run = self.begin()?;
        let id = self.plan.graph().node(step).id.clone();
        let log = StepLog::create(&self.state()?.logs(run), step, &id)?;
        let report = StepReport {
            log: Some(log.path.clone()),
            ..self.report_of(step, Status::Running, None)
        };
        let events = Arc::new(Tee { step, log: Mutex::new(log), to: self.tell.clone() });
        let record = match self.announce(&id, &launch, &*events) {
            Ok(record) => record,
            Err(error) => {
                self.fail(step, error, None)?;
                return Ok(None);
            }
        };
        let running = Running {
            started: Instant::now(),
            delivery: outbox::path(&record),
            events: Arc::clone(&events),
            launch,
        };
        let task = Task { spec: running.launch.spec.clone(), record: Some(record) };
        self.plan.set_state(step, StepState::Running);
        self.running.insert(step, running);
        self.record(step, &report)?;
        self.observer.started(&id);
        Ok(Some((task, events)))
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
            mark: state.mark().clone(),
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
