//! Tensors that get another type than the one asked for, since its block size does not divide their
//! rows: what is said of them, and when they are reason to stop.

use crate::ggml::policy::{self, Choice, Fallback, Reason, Rule};

/// A tensor that falls back.
struct Fallen<'a> {
    tensor: &'a str,
    choice: &'a Choice,
    from: Fallback,
}

impl Fallen<'_> {
    /// As `blk.0.attn_k.weight: rows of 192 are no multiple of 256, q5_0 instead of q4_K`.
    fn words(&self) -> String {
        let Self { tensor, choice, from: Fallback { from, columns } } = self;
        let block = from.block_size();
        format!(
            "{tensor}: rows of {columns} are no multiple of {block}, {} instead of {from}",
            choice.ty
        )
    }
}

/// How many tensors fall back, with examples: one of all, and one for each wish of the user that is
/// not obeyed. `None` where none does. llama-quantize counts the same tensors.
pub(super) fn finding(
    tensors: &[policy::Tensor<'_>],
    choices: &[Choice],
    rules: &[Rule],
) -> Option<String> {
    let fallen = tensors.iter().zip(choices).filter_map(|(tensor, choice)| {
        Some(Fallen { tensor: tensor.name, choice, from: choice.fallback? })
    });
    let fallen: Vec<Fallen<'_>> = fallen.collect();
    if fallen.is_empty() {
        return None;
    }
    let (count, all) = (fallen.len(), tensors.len());
    let mut said = format!("{count} of {all} tensors fall back to another type");
    // Of what the mix says one example is enough; each wish is worth words of its own.
    let mut wishes: Vec<(Reason, Vec<&Fallen<'_>>)> = Vec::new();
    let (mixed, wished): (Vec<_>, Vec<_>) =
        fallen.iter().partition(|f| matches!(f.choice.reason, Reason::Mix(_)));
    if let Some(example) = mixed.first() {
        said.push_str(&format!(", such as {}", example.words()));
    }
    for one in wished {
        match wishes.iter_mut().find(|(reason, _)| *reason == one.choice.reason) {
            Some((_, of_it)) => of_it.push(one),
            None => wishes.push((one.choice.reason, vec![one])),
        }
    }
    for (reason, of_it) in wishes {
        let what = match reason {
            Reason::Rule(index) => {
                let pattern = rules.get(index).map_or("", |rule| rule.pattern.as_str());
                format!("the tensor rule {pattern:?}")
            }
            Reason::Output => "the output tensor type".to_owned(),
            Reason::TokenEmbedding => "the token embedding type".to_owned(),
            _ => "the format's pure type".to_owned(),
        };
        let count = of_it.len();
        said.push_str(&format!("; {what} is not obeyed for {count} of them, {}", of_it[0].words()));
    }
    Some(said)
}

/// The finding as a refusal.
pub(super) fn refusal(format: &str, finding: &str) -> String {
    format!(
        "format {format}: {finding}; give these tensors a type whose blocks fit (--tensor-type, or \
         `tensors` in a manifest), or let them fall back (--fallback warn, or `fallback = \"warn\"`)"
    )
}
