//! How likely models find the tokens of windows, and how far they lie apart.

use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use crate::compute::ThreadPool;
use crate::model::{LogitsFor, Session};
use crate::stats::divergence::{Divergence, TokenDivergence};
use crate::stats::perplexity::{Perplexity, log_softmax};
use crate::steps::{Context, ErrorClass, Loaded, StepError, Unit, model_error};

/// Logits of one model held at a time, in numbers: 268 MB. Those of a window of 512 tokens of
/// gpt-oss (255 scored, a vocabulary of 201,088) are 205 MB; a window with more is read in pieces,
/// and every model's weights as often.
pub const HELD_LOGITS: usize = 64 << 20;

/// The candidate's likelihoods, and for each reference the divergence and its likelihoods.
pub type Scores = (Perplexity, Vec<(Divergence, Perplexity)>);

/// Tokens that a model reads at once, the last of which are scored.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    window: usize,
    read: Range<usize>,
    scored: usize,
}

impl Piece {
    /// Cuts windows of `context` tokens into pieces of at most `rows` scored tokens.
    fn cut(windows: usize, context: usize, rows: usize) -> Vec<Self> {
        // The last token of a window is only ever predicted.
        let (first, last) = (context / 2, context - 1);
        let starts = || (first..last).step_by(rows);
        let pieces = (0..windows).flat_map(|window| starts().map(move |start| (window, start)));
        pieces
            .map(|(window, start)| {
                let end = last.min(start + rows);
                let from = if start == first { 0 } else { start };
                Self { window, read: from..end, scored: end - start }
            })
            .collect()
    }

    /// The tokens after those that are scored.
    fn next<'w>(&self, windows: &'w [Vec<u32>]) -> &'w [u32] {
        &windows[self.window][self.read.end + 1 - self.scored..self.read.end + 1]
    }
}

/// Reads `windows` with each of `models`, the candidate first.
pub fn score(
    windows: &[Vec<u32>],
    context: usize,
    models: &[(Utf8PathBuf, Loaded)],
    ctx: &Context<'_>,
) -> Result<Scores, StepError> {
    let pool =
        ThreadPool::new(ctx.threads).map_err(|e| StepError::from_error(ErrorClass::Host, &e))?;
    let vocab = models[0].1.model.vocab_size();
    let mut sessions = Vec::new();
    for (path, loaded) in models {
        sessions.push((path, loaded.session(context, ctx)?));
    }
    let Some(((path, session), others)) = sessions.split_first_mut() else {
        return Ok(Scores::default());
    };
    let mut candidate = Perplexity::default();
    let mut references = vec![(Divergence::default(), Perplexity::default()); others.len()];
    let rows = (HELD_LOGITS / vocab).max(1);
    let pieces = Piece::cut(windows.len(), context, rows);
    let largest = pieces.iter().map(|p| p.scored).max().unwrap_or(1);
    let total = (windows.len() * models.len() * context) as u64;
    let mut done = 0;
    let mut progress = |piece: &Piece| {
        // A window's last token is done with when the one before it is.
        let ends = usize::from(piece.read.end + 1 == context);
        done += (piece.read.len() + ends) as u64;
        ctx.progress(done, total, Unit::Tokens);
    };
    for group in pieces.chunks(rows / largest) {
        let mut held = Vec::with_capacity(group.len());
        for piece in group {
            ctx.check_cancelled()?;
            let logits = forward(path, session, piece, windows)?;
            let next = piece.next(windows);
            let scored = each(&pool, next.len(), ctx, |i| {
                log_probabilities(&logits[i * vocab..][..vocab])[next[i] as usize]
            })?;
            scored.into_iter().for_each(|l| candidate.add(l));
            held.push(logits);
            progress(piece);
        }
        for ((path, session), (divergence, own)) in others.iter_mut().zip(&mut references) {
            for (piece, candidate) in group.iter().zip(&held) {
                ctx.check_cancelled()?;
                let logits = forward(path, session, piece, windows)?;
                let next = piece.next(windows);
                let compared = each(&pool, next.len(), ctx, |i| {
                    let row = i * vocab..(i + 1) * vocab;
                    let reference = log_probabilities(&logits[row.clone()]);
                    let candidate = log_probabilities(&candidate[row]);
                    (reference[next[i] as usize], TokenDivergence::of(&reference, &candidate))
                })?;
                for (log_probability, token) in compared {
                    own.add(log_probability);
                    divergence.add(token);
                }
                progress(piece);
            }
        }
    }
    Ok((candidate, references))
}

/// What `body` makes of each row of `0..rows`; stops between two of them, which are a hundred thousand
/// exponentials each.
fn each<R: Send>(
    pool: &ThreadPool,
    rows: usize,
    ctx: &Context<'_>,
    body: impl Fn(usize) -> R + Send + Sync,
) -> Result<Vec<R>, StepError> {
    let results = pool.map(rows, |i| {
        ctx.check_cancelled()?;
        Ok(body(i))
    });
    results.into_iter().collect()
}

fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let mut out = vec![0.0; logits.len()];
    log_softmax(logits, &mut out);
    out
}

/// Reads a piece; gives the logits of the tokens that are scored. Logits that are no numbers are
/// the file's fault.
fn forward(
    path: &Utf8Path,
    session: &mut Session<'_>,
    piece: &Piece,
    windows: &[Vec<u32>],
) -> Result<Vec<f32>, StepError> {
    session.truncate(piece.read.start).map_err(|e| model_error(path, &e))?;
    let tokens = &windows[piece.window][piece.read.clone()];
    let wanted = LogitsFor::Tail(piece.scored);
    session.forward(tokens, wanted).map_err(|e| model_error(path, &e))?;
    session.check_finite().map_err(|e| model_error(path, &e))?;
    Ok(session.take_logits())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::steps::testing::{Recorder, context};

    #[test]
    fn a_window_is_read_at_once_if_its_logits_can_be_held() {
        let piece = |window, read, scored| Piece { window, read, scored };
        assert_eq!(Piece::cut(2, 8, 3), [piece(0, 0..7, 3), piece(1, 0..7, 3)]);
        let cut = Piece::cut(2, 9, 3);
        let expected = [piece(0, 0..7, 3), piece(0, 7..8, 1), piece(1, 0..7, 3), piece(1, 7..8, 1)];
        assert_eq!(cut, expected);
        let windows = vec![(0..9).collect(), (10..19).collect()];
        assert_eq!(cut[0].next(&windows), [5, 6, 7]);
        assert_eq!(cut[3].next(&windows), [18]);
        // The window that evaluations have if not told otherwise, of gpt-oss.
        let rows = HELD_LOGITS / 201_088;
        assert_eq!(Piece::cut(1, 512, rows), [piece(0, 0..511, 255)]);
    }

    #[test]
    fn no_row_is_computed_after_it_was_told_to_stop() {
        let (recorder, cancelled) = (Recorder::new(), AtomicBool::new(false));
        let ctx = Context { cancelled: &cancelled, ..context(&recorder) };
        let pool = ThreadPool::new(1).unwrap();
        let computed = AtomicUsize::new(0);
        let stop_at = |last: usize| {
            each(&pool, 100, &ctx, |i| {
                computed.fetch_add(1, Ordering::Relaxed);
                cancelled.store(i == last, Ordering::Relaxed);
                i
            })
        };
        assert_eq!(stop_at(100).unwrap(), (0..100).collect::<Vec<_>>());
        assert_eq!(stop_at(7).unwrap_err().class, ErrorClass::Interrupted);
        assert_eq!(computed.into_inner(), 100 + 8);
    }
}
