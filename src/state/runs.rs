//! Runs and what became of each step in them: what `status` and `log` show.

use camino::Utf8PathBuf;
use rusqlite::{OptionalExtension, Row, named_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Owner, State, StateError};
use crate::files::now_ms;

/// One run of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    pub id: i64,
    pub job: String,
    /// The manifest; empty for a run of an earlier qrun.
    pub manifest: Utf8PathBuf,
    pub command: String,
    pub pid: i64,
    pub started_ms: i64,
    /// Absent while it runs, and for a run that was killed.
    pub finished_ms: Option<i64>,
    pub outcome: Option<RunOutcome>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    Done,
    Failed,
    Interrupted,
}

/// What became of a step in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing to do.
    Fresh,
    /// Started; also what a killed run leaves behind.
    Running,
    Done,
    Failed,
    Interrupted,
    /// Not started: something that it needs failed, or the run stopped before.
    Skipped,
}

impl Status {
    /// The word for people and for the database.
    pub fn word(self) -> &'static str {
        match self {
            Status::Fresh => "fresh",
            Status::Running => "running",
            Status::Done => "done",
            Status::Failed => "failed",
            Status::Interrupted => "interrupted",
            Status::Skipped => "skipped",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        use Status::{Done, Failed, Fresh, Interrupted, Running, Skipped};
        [Fresh, Running, Done, Failed, Interrupted, Skipped].into_iter().find(|s| s.word() == word)
    }
}

impl RunOutcome {
    /// The word for people and for the database.
    pub fn word(self) -> &'static str {
        match self {
            RunOutcome::Done => "done",
            RunOutcome::Failed => "failed",
            RunOutcome::Interrupted => "interrupted",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        use RunOutcome::{Done, Failed, Interrupted};
        [Done, Failed, Interrupted].into_iter().find(|o| o.word() == word)
    }
}

/// A step in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Where the step stands in the plan.
    pub position: i64,
    pub step: String,
    pub status: Status,
    /// Why it failed or was skipped.
    pub message: Option<String>,
    pub duration_ms: Option<i64>,
    pub peak_rss_bytes: Option<i64>,
    /// The step's log; absent where nothing ran.
    pub log: Option<Utf8PathBuf>,
}

const RUN: &str = "id, job, manifest, command, pid, started_ms, finished_ms, outcome";

impl State {
    /// Opens a run and returns its number.
    pub fn begin_run(&self, owner: Owner<'_>, command: &str) -> Result<i64, StateError> {
        let (job, manifest) = (owner.job, self.kept(owner.manifest));
        self.query(|db| {
            db.execute(
                "INSERT INTO runs (job, manifest, command, pid, started_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                rusqlite::params![job, manifest, command, std::process::id(), now_ms()],
            )?;
            Ok(db.last_insert_rowid())
        })
    }

    /// Closes a run.
    pub fn finish_run(&self, run: i64, outcome: RunOutcome) -> Result<(), StateError> {
        self.query(|db| {
            db.execute(
                "UPDATE runs SET finished_ms = ?2, outcome = ?3 WHERE id = ?1",
                rusqlite::params![run, now_ms(), outcome.word()],
            )
            .map(drop)
        })
    }

    /// Notes what became of a step, replacing what was noted before.
    pub fn set_outcome(&self, run: i64, outcome: &Outcome) -> Result<(), StateError> {
        self.set_outcomes(run, std::slice::from_ref(outcome))
    }

    /// [`State::set_outcome`] for many steps at once.
    pub fn set_outcomes(&self, run: i64, outcomes: &[Outcome]) -> Result<(), StateError> {
        self.query(|db| {
            let transaction = db.unchecked_transaction()?;
            for outcome in outcomes {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO outcomes VALUES (:run, :position, :step, :status,
                         :message, :duration, :rss, :log)",
                    )?
                    .execute(named_params! {
                        ":run": run, ":position": outcome.position, ":step": outcome.step,
                        ":status": outcome.status.word(), ":message": outcome.message,
                        ":duration": outcome.duration_ms, ":rss": outcome.peak_rss_bytes,
                        ":log": outcome.log.as_deref().map(|path| self.kept(path)),
                    })?;
            }
            transaction.commit()
        })
    }

    /// The last run of `owner` (or else of another manifest of its job), or of any job.
    pub fn last_run(&self, owner: Option<Owner<'_>>) -> Result<Option<Run>, StateError> {
        self.query(|db| {
            db.prepare(&format!(
                "SELECT {RUN} FROM runs WHERE ?1 IS NULL OR job = ?1
                 ORDER BY manifest = ?2 DESC, id DESC LIMIT 1"
            ))?
            .query_row(self.of(owner), |row| self.read_run(row))
            .optional()
        })
    }

    /// Every run, newest first.
    pub fn runs(&self) -> Result<Vec<Run>, StateError> {
        self.query(|db| {
            db.prepare(&format!("SELECT {RUN} FROM runs ORDER BY id DESC"))?
                .query_map([], |row| self.read_run(row))?
                .collect()
        })
    }

    /// What became of each step in a run, in the plan's order.
    pub fn outcomes(&self, run: i64) -> Result<Vec<Outcome>, StateError> {
        self.query(|db| {
            db.prepare(
                "SELECT position, step, status, message, duration_ms, peak_rss_bytes, log
                 FROM outcomes WHERE run = ?1 ORDER BY position",
            )?
            .query_map([run], |row| self.read_outcome(row))?
            .collect()
        })
    }

    /// The newest log of `step`, in the last run of `owner` (or of any job) that started it.
    pub fn last_log(
        &self,
        owner: Option<Owner<'_>>,
        step: &str,
    ) -> Result<Option<Utf8PathBuf>, StateError> {
        let [job, manifest] = self.of(owner);
        self.query(|db| {
            db.prepare(
                "SELECT log FROM outcomes JOIN runs ON runs.id = outcomes.run
                 WHERE step = ?3 AND log IS NOT NULL AND (?1 IS NULL OR job = ?1)
                 ORDER BY manifest = ?2 DESC, run DESC LIMIT 1",
            )?
            .query_row([job, manifest, Some(step)], |row| row.get::<_, String>(0))
            .optional()
            .map(|path| path.map(|path| self.found(path)))
        })
    }

    /// The steps that have a log, by name.
    pub fn logged_steps(&self, owner: Option<Owner<'_>>) -> Result<Vec<String>, StateError> {
        self.query(|db| {
            db.prepare(
                "SELECT DISTINCT step FROM outcomes JOIN runs ON runs.id = outcomes.run
                 WHERE log IS NOT NULL AND (?1 IS NULL OR job = ?1) ORDER BY step",
            )?
            .query_map([owner.map(|owner| owner.job)], |row| row.get(0))?
            .collect()
        })
    }

    /// Job and manifest as they are kept.
    fn of<'o>(&self, owner: Option<Owner<'o>>) -> [Option<&'o str>; 2] {
        [owner.map(|o| o.job), owner.map(|o| self.kept(o.manifest))]
    }

    /// Forgets a run and what became of its steps.
    pub fn forget_run(&self, run: i64) -> Result<(), StateError> {
        self.query(|db| db.execute("DELETE FROM runs WHERE id = ?1", [run]).map(drop))
    }

    fn read_run(&self, row: &Row<'_>) -> rusqlite::Result<Run> {
        Ok(Run {
            id: row.get(0)?,
            job: row.get(1)?,
            manifest: self.found_manifest(row.get(2)?),
            command: row.get(3)?,
            pid: row.get(4)?,
            started_ms: row.get(5)?,
            finished_ms: row.get(6)?,
            outcome: row.get::<_, Option<String>>(7)?.and_then(|word| RunOutcome::parse(&word)),
        })
    }

    fn read_outcome(&self, row: &Row<'_>) -> rusqlite::Result<Outcome> {
        let word: String = row.get(2)?;
        let status = Status::parse(&word).ok_or_else(|| {
            rusqlite::Error::InvalidColumnType(2, word, rusqlite::types::Type::Text)
        })?;
        Ok(Outcome {
            position: row.get(0)?,
            step: row.get(1)?,
            status,
            message: row.get(3)?,
            duration_ms: row.get(4)?,
            peak_rss_bytes: row.get(5)?,
            log: row.get::<_, Option<String>>(6)?.map(|path| self.found(path)),
        })
    }
}
