//! Why a file is no model of an architecture that is known.

/// What a GGUF file's metadata lack, or say and cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ArchError {
    /// `general.architecture` names none that is known.
    #[error(
        "general.architecture is {}; this build computes {known} only",
        found.as_deref().map_or("missing".to_owned(), |f| format!("{f:?}"))
    )]
    Unknown { found: Option<String>, known: String },
    /// A hyperparameter is missing.
    #[error("metadata: {key} is missing; expected {expected}")]
    MissingKey { key: String, expected: &'static str },
    /// A hyperparameter is of another type than llama.cpp reads.
    #[error(
        "metadata: {key} is stored as {found}; expected {expected}, and llama.cpp refuses anything else"
    )]
    KeyType { key: String, found: String, expected: String },
    /// A hyperparameter has an impossible value.
    #[error("metadata: {key} is {found}; expected {expected}")]
    BadValue { key: String, found: String, expected: String },
}

/// Why a `config.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A value that is missing, that a model of the architecture cannot have, or that is not
    /// supported.
    #[error("{key}: expected {expected}, found {found}")]
    Value { key: &'static str, expected: String, found: String },
}

impl ConfigError {
    pub(super) fn value(
        key: &'static str,
        expected: impl ToString,
        found: impl ToString,
    ) -> ConfigError {
        ConfigError::Value { key, expected: expected.to_string(), found: found.to_string() }
    }
}
