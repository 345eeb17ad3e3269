//! Finished actions: what went into a step, what came out of it, and what it cost. Beside them,
//! the outputs that unfinished actions were going to write.

use camino::Utf8PathBuf;
use rusqlite::{OptionalExtension, Row, named_params};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{State, StateError, decode};
use crate::steps::FileDigest;

/// One thing that went into a step: a name as the manifest has it, and its value.
pub type Ingredient = (String, String);

/// A step's success.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    pub job: String,
    pub step: String,
    /// Hexadecimal SHA-256 over the ingredients.
    pub key: String,
    pub ingredients: Vec<Ingredient>,
    /// Files it wrote.
    pub outputs: Vec<FileDigest>,
    /// The step's result.
    pub result: Value,
    pub started_ms: i64,
    pub duration_ms: i64,
    /// Of the worker process.
    pub peak_rss_bytes: Option<i64>,
}

impl Action {
    /// Hexadecimal SHA-256 of the result. Taken from what the database gave back, so that it is the
    /// same however often it is asked for.
    pub fn result_sha256(&self) -> String {
        hex::encode(Sha256::digest(self.result.to_string()))
    }
}

/// An action that was started and did not finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub job: String,
    pub step: String,
    pub key: String,
    /// Final names of the files it was going to write.
    pub outputs: Vec<Utf8PathBuf>,
}

const COLUMNS: &str =
    "job, step, key, ingredients, outputs, result, started_ms, duration_ms, peak_rss_bytes";

impl State {
    /// Commits a success, replacing one of the same step and key, and forgets that it was pending.
    pub fn record_action(&self, action: &Action) -> Result<(), StateError> {
        let text = |value: serde_json::Result<String>| {
            value.map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
        };
        self.query(|db| {
            let transaction = db.unchecked_transaction()?;
            transaction
                .prepare_cached(&format!(
                    "INSERT OR REPLACE INTO actions ({COLUMNS}) VALUES (:job, :step, :key,
                     :ingredients, :outputs, :result, :started, :duration, :rss)"
                ))?
                .execute(named_params! {
                    ":job": action.job, ":step": action.step, ":key": action.key,
                    ":ingredients": text(serde_json::to_string(&action.ingredients))?,
                    ":outputs": text(serde_json::to_string(&action.outputs))?,
                    ":result": text(serde_json::to_string(&action.result))?,
                    ":started": action.started_ms, ":duration": action.duration_ms,
                    ":rss": action.peak_rss_bytes,
                })?;
            transaction.execute(
                "DELETE FROM pending WHERE job = ?1 AND step = ?2 AND key = ?3",
                [&action.job, &action.step, &action.key],
            )?;
            transaction.commit()
        })
    }

    /// The success of a step under `key`.
    pub fn action(&self, job: &str, step: &str, key: &str) -> Result<Option<Action>, StateError> {
        self.query(|db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM actions WHERE job = ?1 AND step = ?2 AND key = ?3"
            ))?
            .query_row([job, step, key], read_action)
            .optional()
        })
    }

    /// A step's last success: the one that ran or was found fresh most recently.
    pub fn last_action(&self, job: &str, step: &str) -> Result<Option<Action>, StateError> {
        self.query(|db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM actions WHERE job = ?1 AND step = ?2
                 ORDER BY id DESC LIMIT 1"
            ))?
            .query_row([job, step], read_action)
            .optional()
        })
    }

    /// Makes this success its step's last one, where it is not already.
    pub fn touch_action(&self, action: &Action) -> Result<(), StateError> {
        match self.last_action(&action.job, &action.step)? {
            Some(last) if last.key == action.key => Ok(()),
            _ => self.query(|db| {
                db.execute(
                    "UPDATE actions SET id = (SELECT max(id) + 1 FROM actions)
                     WHERE job = ?1 AND step = ?2 AND key = ?3",
                    [&action.job, &action.step, &action.key],
                )
                .map(drop)
            }),
        }
    }

    /// Every success, oldest first.
    pub fn actions(&self) -> Result<Vec<Action>, StateError> {
        self.query(|db| {
            db.prepare(&format!("SELECT {COLUMNS} FROM actions ORDER BY id"))?
                .query_map([], read_action)?
                .collect()
        })
    }

    /// Forgets one success.
    pub fn forget_action(&self, job: &str, step: &str, key: &str) -> Result<(), StateError> {
        self.query(|db| {
            db.execute(
                "DELETE FROM actions WHERE job = ?1 AND step = ?2 AND key = ?3",
                [job, step, key],
            )
            .map(drop)
        })
    }

    /// Whether some recorded success wrote a file with these bytes under this name.
    pub fn wrote(&self, file: &FileDigest) -> Result<bool, StateError> {
        Ok(self.actions()?.iter().any(|action| action.outputs.contains(file)))
    }

    /// Notes what a step that starts now will write, replacing what was noted for it before.
    pub fn set_pending(&self, pending: &Pending) -> Result<(), StateError> {
        self.query(|db| {
            let outputs = serde_json::to_string(&pending.outputs)
                .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
            db.execute(
                "INSERT OR REPLACE INTO pending VALUES (?1, ?2, ?3, ?4)",
                [&pending.job, &pending.step, &pending.key, &outputs],
            )
            .map(drop)
        })
    }

    /// What a step was going to write when it last started, if it did not finish.
    pub fn pending(&self, job: &str, step: &str) -> Result<Option<Pending>, StateError> {
        Ok(self.all_pending()?.into_iter().find(|p| p.job == job && p.step == step))
    }

    /// Every unfinished action.
    pub fn all_pending(&self) -> Result<Vec<Pending>, StateError> {
        self.query(|db| {
            db.prepare_cached("SELECT job, step, key, outputs FROM pending ORDER BY job, step")?
                .query_map([], |row| {
                    Ok(Pending {
                        job: row.get(0)?,
                        step: row.get(1)?,
                        key: row.get(2)?,
                        outputs: decode(row, 3)?,
                    })
                })?
                .collect()
        })
    }

    /// Forgets an unfinished action.
    pub fn forget_pending(&self, job: &str, step: &str) -> Result<(), StateError> {
        self.query(|db| {
            db.execute("DELETE FROM pending WHERE job = ?1 AND step = ?2", [job, step]).map(drop)
        })
    }
}

fn read_action(row: &Row<'_>) -> rusqlite::Result<Action> {
    Ok(Action {
        job: row.get(0)?,
        step: row.get(1)?,
        key: row.get(2)?,
        ingredients: decode(row, 3)?,
        outputs: decode(row, 4)?,
        result: decode(row, 5)?,
        started_ms: row.get(6)?,
        duration_ms: row.get(7)?,
        peak_rss_bytes: row.get(8)?,
    })
}
