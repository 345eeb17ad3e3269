//! What the scheduler notes of each step that has ended: in the plan, in the state, for whoever
//! watches.

use super::{Running, Scheduler, Stop};
use crate::exec::StepReport;
use crate::manifest::lock;
use crate::plan::StepState;
use crate::state::{Outcome, Status};
use crate::steps::{ErrorClass, StepError};

impl Scheduler<'_> {
    /// Takes in that a step failed, or could not be started.
    pub(super) fn fail(
        &mut self,
        step: usize,
        error: StepError,
        running: Option<&Running>,
    ) -> Result<(), StepError> {
        let id = self.plan.graph().node(step).id.clone();
        if let Some(running) = running
            && let Ok(mut log) = running.events.log.lock()
        {
            log.line(&format!("error {}", error.message));
        }
        let interrupted = error.class == ErrorClass::Interrupted;
        if interrupted {
            self.stop = Some(Stop::Interrupted);
        } else if !self.options.keep_going && self.stop.is_none() {
            self.stop = Some(Stop::Failed(id.clone()));
        }
        self.plan.set_state(step, StepState::Failed(error.message.clone()));
        let status = if interrupted { Status::Interrupted } else { Status::Failed };
        let mut report = self.report_of(step, status, running);
        report.class = Some(error.class);
        report.message = Some(error.message);
        self.publish(step, report)
    }

    /// Takes in that a step does not run.
    pub(super) fn skip(&mut self, step: usize, reason: String) -> Result<(), StepError> {
        let left_out = self.plan.is_left_out(step);
        self.plan.set_state(step, StepState::Skipped(reason.clone()));
        if left_out {
            return Ok(());
        }
        let report =
            StepReport { message: Some(reason), ..self.report_of(step, Status::Skipped, None) };
        self.publish(step, report)
    }

    /// Takes in that a step ended well: it ran, or, without `running`, it was fresh.
    pub(super) fn succeed(
        &mut self,
        step: usize,
        state: StepState,
        running: Option<(&Running, Option<u64>)>,
    ) -> Result<(), StepError> {
        self.plan.set_state(step, state);
        // Only now: a broken download must not become what a good one is held against.
        if self.plan.reads_checkpoint(self.plan.graph().node(step)) {
            self.pin()?;
        }
        let status = if running.is_some() { Status::Done } else { Status::Fresh };
        let mut report = self.report_of(step, status, running.map(|(running, _)| running));
        report.peak_rss_bytes = running.and_then(|(_, peak_rss_bytes)| peak_rss_bytes);
        if let StepState::Fresh(done) | StepState::Done(done) = self.plan.step_state(step) {
            report.outputs = done.outputs.iter().map(|o| o.path.clone()).collect();
            if running.is_some() {
                let draft = &self.plan.graph().node(step).draft;
                let effects = draft.effects(&done.result)?;
                (report.written_bytes, report.remark) = (effects.written_bytes, effects.remark);
            }
        }
        self.publish(step, report)
    }

    fn publish(&mut self, step: usize, report: StepReport) -> Result<(), StepError> {
        self.record(step, &report)?;
        self.observer.ended(&report);
        self.reports.insert(step, report);
        Ok(())
    }

    /// What is to be told of a step in any case.
    pub(super) fn report_of(
        &self,
        step: usize,
        status: Status,
        running: Option<&Running>,
    ) -> StepReport {
        StepReport {
            step: self.plan.graph().node(step).id.clone(),
            status,
            message: None,
            class: None,
            duration_ms: running.and_then(|r| i64::try_from(r.started.elapsed().as_millis()).ok()),
            peak_rss_bytes: None,
            outputs: Vec::new(),
            written_bytes: 0,
            remark: None,
            log: running.and_then(|r| r.events.log.lock().ok().map(|log| log.path.clone())),
        }
    }

    /// Notes what became of `step` in the records of the run, once there is one.
    pub(super) fn record(&self, step: usize, report: &StepReport) -> Result<(), StepError> {
        if let Some(run) = self.run {
            self.state()?.set_outcome(run, &outcome(step, report))?;
        }
        Ok(())
    }

    /// The run's number. It begins with the first step that runs, and its records with what ended
    /// before that.
    pub(super) fn begin(&mut self) -> Result<i64, StepError> {
        if let Some(run) = self.run {
            return Ok(run);
        }
        let state = self.state()?;
        let run = state.begin_run(self.plan.owner(), &self.options.command)?;
        let so_far: Vec<Outcome> = self.reports.iter().map(|(s, r)| outcome(*s, r)).collect();
        state.set_outcomes(run, &so_far)?;
        self.run = Some(run);
        Ok(run)
    }

    /// Writes the digests that verify found to the job's lock, where it does not have them.
    fn pin(&self) -> Result<(), StepError> {
        match self.plan.pins()? {
            Some(pins) => lock::write(&self.plan.job.lock, &pins),
            None => Ok(()),
        }
    }
}

fn outcome(step: usize, report: &StepReport) -> Outcome {
    Outcome {
        position: step as i64,
        step: report.step.clone(),
        status: report.status,
        message: report.message.clone(),
        duration_ms: report.duration_ms,
        peak_rss_bytes: report.peak_rss_bytes.and_then(|b| i64::try_from(b).ok()),
        log: report.log.clone(),
    }
}
