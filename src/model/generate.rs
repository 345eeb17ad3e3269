//! The generation loop: read the prompt, choose a token, read it, choose the next.

use std::ops::ControlFlow;

use super::sampler::{self, Sampler, Sampling};
use super::{LogitsFor, ModelError, Session};

/// What to generate.
#[derive(Clone, Debug)]
pub struct Generation<'a> {
    /// Tokens to generate at most.
    pub max_tokens: usize,
    pub sampling: Sampling,
    /// Tokens after which to stop; they count as generated.
    pub stop: &'a [u32],
}

/// A token that was generated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    pub id: u32,
    pub logit: f32,
    /// The best token that was not taken, and its logit.
    pub runner_up: Option<(u32, f32)>,
}

/// Reads `prompt` and generates until `max_tokens`, a stop token, or the end of the session's room.
/// Each token goes to `on_token` as soon as it is chosen, which may break off.
///
/// # Errors
/// If the prompt is empty or does not fit into the session, or a logit is not finite.
pub fn generate(
    session: &mut Session<'_>,
    prompt: &[u32],
    generation: &Generation<'_>,
    mut on_token: impl FnMut(&Token) -> ControlFlow<()>,
) -> Result<Vec<u32>, ModelError> {
    if prompt.is_empty() {
        return Err(ModelError::EmptyPrompt);
    }
    let mut sampler = Sampler::new(generation.sampling);
    let mut generated = Vec::new();
    session.forward(
        prompt,
        if generation.max_tokens == 0 { LogitsFor::None } else { LogitsFor::Last },
    )?;
    while generated.len() < generation.max_tokens {
        let token = choose(session, &mut sampler)?;
        generated.push(token.id);
        let done = on_token(&token).is_break()
            || generation.stop.contains(&token.id)
            || generated.len() == generation.max_tokens
            || session.position() == session.capacity();
        if done {
            break;
        }
        session.forward(&[token.id], LogitsFor::Last)?;
    }
    Ok(generated)
}

fn choose(session: &Session<'_>, sampler: &mut Sampler) -> Result<Token, ModelError> {
    session.check_finite()?;
    let logits = session.logits();
    let id = sampler.choose(logits);
    let runner_up = sampler::runner_up(logits, id).map(|t| (t, logits[t as usize]));
    Ok(Token { id, logit: logits[id as usize], runner_up })
}
