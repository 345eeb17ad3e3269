//! Finished actions: what went into a step, what came out of it, and what it cost. Beside them,
//! the outputs that unfinished actions were going to write.

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::{OptionalExtension, Row, named_params, params};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{State, StateError, decode};
use crate::files::FileDigest;

/// One thing that went into a step: a name as the manifest has it, and its value.
pub type Ingredient = (String, String);

/// Whose a step is: a job, as one manifest describes it. Another manifest of the same name has
/// steps of its own, and what is the same in both is done once.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub job: &'a str,
    pub manifest: &'a Utf8Path,
}

/// A step's success.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    pub job: String,
    /// The manifest; empty for one that an earlier qrun recorded, which belongs to any of the job.
    pub manifest: Utf8PathBuf,
    pub step: String,
    /// Hexadecimal SHA-256 over the ingredients.
    pub key: String,
    pub ingredients: Vec<Ingredient>,
    /// Files it wrote.
    pub outputs: Vec<FileDigest>,
    /// The step's result.
    pub result: Value,
    /// Hexadecimal SHA-256 of the result, the same wherever the workspace is; what the state gives
    /// back has it.
    pub result_sha256: String,
    pub started_ms: i64,
    pub duration_ms: i64,
    /// Of the worker process.
    pub peak_rss_bytes: Option<i64>,
}

/// An action that was started and did not finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub job: String,
    pub manifest: Utf8PathBuf,
    pub step: String,
    pub key: String,
    /// Final names of the files it was going to write.
    pub outputs: Vec<Utf8PathBuf>,
}

const COLUMNS: &str = "job, manifest, step, key, ingredients, outputs, result, started_ms,
    duration_ms, peak_rss_bytes";

/// Of several of one job and step, those of the manifest first, then those of which none is known.
const OWN_FIRST: &str = "manifest = :manifest DESC, manifest = '' DESC";

impl State {
    /// Commits a success, replacing one of the same owner, step and key, and forgets that it was
    /// pending.
    pub fn record_action(&self, action: &Action) -> Result<(), StateError> {
        let text = |value: serde_json::Result<String>| {
            value.map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
        };
        let outputs: Vec<FileDigest> = action
            .outputs
            .iter()
            .map(|file| FileDigest { path: self.kept(&file.path).into(), ..file.clone() })
            .collect();
        let paths: Vec<&Utf8PathBuf> = outputs.iter().map(|file| &file.path).collect();
        let manifest = self.kept(&action.manifest);
        self.query(|db| {
            let transaction = db.unchecked_transaction()?;
            transaction
                .prepare_cached(&format!(
                    "INSERT OR REPLACE INTO actions ({COLUMNS}) VALUES (:job, :manifest, :step,
                     :key, :ingredients, :outputs, :result, :started, :duration, :rss)"
                ))?
                .execute(named_params! {
                    ":job": action.job, ":manifest": manifest, ":step": action.step,
                    ":key": action.key,
                    ":ingredients": text(serde_json::to_string(&action.ingredients))?,
                    ":outputs": text(serde_json::to_string(&outputs))?,
                    ":result": self.kept_result(&action.result).to_string(),
                    ":started": action.started_ms, ":duration": action.duration_ms,
                    ":rss": action.peak_rss_bytes,
                })?;
            // One of another manifest that would have written the same is done with it.
            transaction.execute(
                "DELETE FROM pending WHERE key = :key AND (outputs = :paths OR
                 (job = :job AND step = :step AND (manifest = :manifest OR manifest = '')))",
                named_params! {
                    ":job": action.job, ":manifest": manifest, ":step": action.step,
                    ":key": action.key, ":paths": text(serde_json::to_string(&paths))?,
                },
            )?;
            transaction.commit()
        })
    }

    /// The success of a step of `owner` under `key`.
    pub fn action(
        &self,
        owner: Owner<'_>,
        step: &str,
        key: &str,
    ) -> Result<Option<Action>, StateError> {
        self.one_action(owner, step, "AND key = :key", key)
    }

    /// A step's last success: the one of `owner` that ran or was found fresh most recently, or else
    /// that of another manifest of the job.
    pub fn last_action(&self, owner: Owner<'_>, step: &str) -> Result<Option<Action>, StateError> {
        self.one_action(owner, step, "AND :key = ''", "")
    }

    fn one_action(
        &self,
        owner: Owner<'_>,
        step: &str,
        condition: &str,
        key: &str,
    ) -> Result<Option<Action>, StateError> {
        self.query(|db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM actions WHERE job = :job AND step = :step {condition}
                 ORDER BY {OWN_FIRST}, id DESC LIMIT 1"
            ))?
            .query_row(
                named_params! {
                    ":job": owner.job, ":manifest": self.kept(owner.manifest), ":step": step,
                    ":key": key,
                },
                |row| self.read_action(row),
            )
            .optional()
        })
    }

    /// Every success under `key`, whosever it is, the newest first.
    pub fn successes(&self, key: &str) -> Result<Vec<Action>, StateError> {
        self.query(|db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM actions WHERE key = ?1 ORDER BY id DESC"
            ))?
            .query_map([key], |row| self.read_action(row))?
            .collect()
        })
    }

    /// Makes this success the last one of `owner`'s `step`, where it is not already.
    pub fn touch_action(
        &self,
        owner: Owner<'_>,
        step: &str,
        action: &Action,
    ) -> Result<(), StateError> {
        let own = Action {
            job: owner.job.to_owned(),
            manifest: owner.manifest.to_owned(),
            step: step.to_owned(),
            ..action.clone()
        };
        match self.last_action(owner, step)? {
            Some(last) if last == own => Ok(()),
            _ => self.record_action(&own),
        }
    }

    /// Every success, oldest first.
    pub fn actions(&self) -> Result<Vec<Action>, StateError> {
        self.query(|db| {
            db.prepare(&format!("SELECT {COLUMNS} FROM actions ORDER BY id"))?
                .query_map([], |row| self.read_action(row))?
                .collect()
        })
    }

    /// Forgets one success.
    pub fn forget_action(&self, action: &Action) -> Result<(), StateError> {
        let Action { job, manifest, step, key, .. } = action;
        self.query(|db| {
            db.execute(
                "DELETE FROM actions WHERE job = ?1 AND manifest = ?2 AND step = ?3 AND key = ?4",
                params![job, self.kept(manifest), step, key],
            )
            .map(drop)
        })
    }

    /// Whether some recorded success wrote a file with these bytes under this name.
    pub fn wrote(&self, file: &FileDigest) -> Result<bool, StateError> {
        Ok(self.actions()?.iter().any(|action| action.outputs.contains(file)))
    }

    /// The successes whose output is what was last written under this name, the newest first.
    pub fn writers(&self, path: &Utf8Path) -> Result<Vec<Action>, StateError> {
        let wrote = |a: &Action| a.outputs.iter().find(|o| o.path == path).cloned();
        let mut all = self.actions()?;
        all.reverse();
        let last = all.iter().find_map(wrote);
        all.retain(|action| last.is_some() && wrote(action) == last);
        Ok(all)
    }

    /// Notes what a step that starts now will write, replacing what was noted for it before.
    pub fn set_pending(&self, pending: &Pending) -> Result<(), StateError> {
        let outputs: Vec<&str> = pending.outputs.iter().map(|path| self.kept(path)).collect();
        self.query(|db| {
            let outputs = serde_json::to_string(&outputs)
                .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
            db.execute(
                "INSERT OR REPLACE INTO pending VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    pending.job,
                    self.kept(&pending.manifest),
                    pending.step,
                    pending.key,
                    outputs,
                    self.mark().to_string(),
                ],
            )
            .map(drop)
        })
    }

    /// What a step of `owner` was going to write when it last started, if it did not finish.
    pub fn pending(&self, owner: Owner<'_>, step: &str) -> Result<Option<Pending>, StateError> {
        let is_own = |p: &Pending| p.manifest == owner.manifest || p.manifest.as_str().is_empty();
        let all = self.all_pending()?.into_iter();
        let mut of_step = all.filter(|p| p.job == owner.job && p.step == step && is_own(p));
        Ok(of_step.next_back())
    }

    /// Every unfinished action. In a copy of a workspace those files are left out that are outside
    /// of it: they are the original's.
    pub fn all_pending(&self) -> Result<Vec<Pending>, StateError> {
        let here = self.mark().to_string();
        self.query(|db| {
            db.prepare_cached(
                "SELECT job, manifest, step, key, outputs, home FROM pending
                 ORDER BY job, step, manifest",
            )?
            .query_map([], |row| {
                let outputs: Vec<Utf8PathBuf> = decode(row, 4)?;
                let home: String = row.get(5)?;
                let is_ours = |path: &Utf8PathBuf| path.is_relative() || home == here;
                Ok(Pending {
                    job: row.get(0)?,
                    manifest: self.found_manifest(row.get(1)?),
                    step: row.get(2)?,
                    key: row.get(3)?,
                    outputs: outputs.into_iter().filter(is_ours).map(|p| self.found(p)).collect(),
                })
            })?
            .collect()
        })
    }

    /// Forgets an unfinished action.
    pub fn forget_pending(&self, pending: &Pending) -> Result<(), StateError> {
        let Pending { job, manifest, step, .. } = pending;
        self.query(|db| {
            db.execute(
                "DELETE FROM pending WHERE job = ?1 AND manifest = ?2 AND step = ?3",
                params![job, self.kept(manifest), step],
            )
            .map(drop)
        })
    }

    pub(super) fn found_manifest(&self, kept: String) -> Utf8PathBuf {
        if kept.is_empty() { kept.into() } else { self.found(kept) }
    }

    fn read_action(&self, row: &Row<'_>) -> rusqlite::Result<Action> {
        let outputs: Vec<FileDigest> = decode(row, 5)?;
        let result: String = row.get(6)?;
        Ok(Action {
            job: row.get(0)?,
            manifest: self.found_manifest(row.get(1)?),
            step: row.get(2)?,
            key: row.get(3)?,
            ingredients: decode(row, 4)?,
            outputs: outputs
                .into_iter()
                .map(|file| FileDigest { path: self.found(&file.path), ..file })
                .collect(),
            result: self.found_result(decode(row, 6)?),
            result_sha256: hex::encode(Sha256::digest(result)),
            started_ms: row.get(7)?,
            duration_ms: row.get(8)?,
            peak_rss_bytes: row.get(9)?,
        })
    }
}
