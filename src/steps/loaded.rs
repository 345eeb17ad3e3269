//! A GGUF file opened for inference: its model and its tokenizer, and whose fault it is if not.

use std::sync::Arc;

use camino::Utf8Path;

use crate::gguf::{self, TensorSource};
use crate::model::{Model, ModelError, ModelOptions, Session};
use crate::tokenizer::Tokenizer;

use super::{Context, ErrorClass, Level, StepError};

/// A model ready to compute, with the vocabulary its file carries.
pub struct Loaded {
    pub file: Arc<gguf::File>,
    pub model: Model,
    pub tokenizer: Tokenizer,
}

impl Loaded {
    /// Opens the file and checks everything that inference needs of it.
    ///
    /// # Errors
    /// [`ErrorClass::Input`] if the file is missing, damaged, or no model that can be computed;
    /// [`ErrorClass::Host`] if the host cannot load it.
    pub fn open(path: &Utf8Path, options: &ModelOptions) -> Result<Self, StepError> {
        let file =
            gguf::File::open(path).map_err(|e| StepError::from_error(ErrorClass::Input, &e))?;
        let file = Arc::new(file);
        let source: Arc<dyn TensorSource> = file.clone();
        // Before the vocabulary: that of another architecture is no news.
        let model = Model::load(source, options).map_err(|e| model_error(path, &e))?;
        let tokenizer = Tokenizer::from_gguf(file.metadata()).map_err(|e| {
            let error = StepError::from_error(ErrorClass::Input, &e);
            StepError::input(format!("{path}: {error}"))
        })?;
        Ok(Self { file, model, tokenizer })
    }

    /// Starts a text of at most `max_tokens` tokens, which stops when the step is told to.
    ///
    /// # Errors
    /// As [`Model::session`].
    pub fn session<'a>(
        &'a self,
        max_tokens: usize,
        ctx: &Context<'a>,
    ) -> Result<Session<'a>, StepError> {
        let session = self.model.session(max_tokens);
        let session = session.map_err(|e| model_error(self.file.path(), &e))?;
        Ok(session.stopped_by(ctx.cancelled))
    }

    /// Says what of the file has no effect on what is computed.
    pub fn warn(&self, ctx: &Context<'_>) {
        for warning in self.model.warnings() {
            ctx.log(Level::Warn, format!("{}: {warning}", self.file.path()));
        }
    }
}

/// What a model of the file `path` failed with, as a step's failure.
pub fn model_error(path: &Utf8Path, error: &ModelError) -> StepError {
    let class = match error {
        ModelError::Interrupted => return StepError::interrupted(),
        ModelError::Memory { .. } | ModelError::Threads(_) => ErrorClass::Host,
        ModelError::TooLong { .. }
        | ModelError::Full { .. }
        | ModelError::CacheType { .. }
        | ModelError::Forgotten { .. }
        | ModelError::Token { .. }
        | ModelError::EmptyPrompt => ErrorClass::Usage,
        _ => ErrorClass::Input,
    };
    let message = StepError::from_error(class, error).message;
    StepError::new(class, format!("{path}: {message}"))
}
