//! Which type each tensor of a file gets: the mix's choice, rules of the user, native MXFP4, and
//! the fall-backs for rows that a block size does not divide.
//!
//! Makes the choices of llama.cpp's `src/llama-quant.cpp`, build b11434, for every architecture.
//! Three differences, all on purpose: rules also count when the mix is one of floats, where
//! `llama-quantize` passes over `--tensor-type` in silence; MXFP4 can be kept without a rule; and a
//! type asked for the output or the token embedding falls back as any other does where its block
//! size does not divide the columns, where `llama-quantize` aborts.

mod category;
mod mixes;
mod model;

use std::cmp::Ordering;
use std::fmt;

use regex::Regex;

use super::{GgmlType, Mix};
use category::Category;
use mixes::Chooser;
pub use model::Model;

/// What the choice depends on, of one tensor.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// Name as GGUF has it.
    pub name: &'a str,
    /// The type it has now.
    pub ty: GgmlType,
    /// Dimensions, fastest first.
    pub shape: &'a [u64],
}

/// An override: tensors in whose name the pattern is found get this type.
#[derive(Clone, Debug)]
pub struct Rule {
    pub pattern: Regex,
    pub ty: GgmlType,
}

/// What the user wants.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    pub mix: Mix,
    /// The first that matches wins, over the mix and over `keep_native_mxfp4`.
    pub rules: &'a [Rule],
    /// Leave tensors that are MXFP4 as they are.
    pub keep_native_mxfp4: bool,
    /// Give every tensor the mix's base type instead of what the mix says of it; rules still win.
    pub pure: bool,
    /// Type of `output.weight`, or of the token embedding where that is the output too. Wins over
    /// the rules.
    pub output: Option<GgmlType>,
    /// Type of the token embedding. Wins over the rules, except for the embedding per layer.
    pub token_embedding: Option<GgmlType>,
    /// Leave `output.weight` as it is.
    pub leave_output: bool,
    /// Whether there is an importance matrix: some choices depend on it.
    pub has_importance: bool,
}

impl Policy<'_> {
    /// The mix's own choices, and nothing else asked for.
    pub const fn of(mix: Mix) -> Self {
        Policy {
            mix,
            rules: &[],
            keep_native_mxfp4: false,
            pure: false,
            output: None,
            token_embedding: None,
            leave_output: false,
            has_importance: false,
        }
    }
}

/// The type of one tensor, with its reason; the [`Display`](fmt::Display) form says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub ty: GgmlType,
    pub reason: Reason,
    /// The type that would have been chosen had its block size divided the columns.
    pub fallback: Option<Fallback>,
    /// Whether the tensor would be garbage if it were quantized to this type without importance.
    pub needs_importance: bool,
}

/// A type that a tensor's shape rules out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    pub from: GgmlType,
    /// Columns of the tensor.
    pub columns: u64,
}

/// Why a tensor gets its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The mix says so.
    Mix(Mix),
    /// The mix's base type, for every tensor.
    Pure(Mix),
    /// [`Policy::output`] says so.
    Output,
    /// [`Policy::token_embedding`] says so.
    TokenEmbedding,
    /// This rule says so; an index into [`Policy::rules`].
    Rule(usize),
    /// It is MXFP4 and stays so.
    NativeMxfp4,
    /// Tensors like this are never quantized; in words.
    Never(&'static str),
}

impl Choice {
    /// The reason in words, with the pattern of the rule where one decided.
    pub fn why(&self, rules: &[Rule]) -> String {
        let mut why = match self.reason {
            Reason::Mix(mix) => format!("{mix} mix"),
            Reason::Pure(mix) => format!("pure {mix}"),
            Reason::Output => "output tensor type".to_owned(),
            Reason::TokenEmbedding => "token embedding type".to_owned(),
            Reason::Rule(index) => {
                let pattern = rules.get(index).map_or("", |r| r.pattern.as_str());
                format!("rule {pattern}")
            }
            Reason::NativeMxfp4 => "kept: native mxfp4".to_owned(),
            Reason::Never(what) => format!("kept: {what}"),
        };
        if let Some(fallback) = self.fallback {
            why.push_str(&format!("; {fallback} falls back to {}", self.ty));
        }
        why
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, columns } = self;
        write!(f, "{columns} columns are no multiple of {}: {from}", from.block_size())
    }
}

/// Why types could not be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("tensor {tensor} names no layer below {layers}; expected blk.N. with N < {layers}")]
    BadLayer { tensor: String, layers: usize },
}

impl Policy<'_> {
    /// Chooses a type for each of a model's tensors; the choices are in the order of `tensors`,
    /// and do not depend on it.
    ///
    /// # Errors
    ///
    /// A tensor of a mixture of experts whose layer cannot be told from its name.
    pub fn choose(&self, model: &Model, tensors: &[Tensor]) -> Result<Vec<Choice>, PolicyError> {
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        // The mixes count tensors of a category, so the order matters.
        order.sort_by(|&a, &b| by_layer_and_name(tensors[a].name, tensors[b].name));
        let mut chooser = Chooser::new(self.mix, self.has_importance, model, tensors);
        let mut choices = vec![None; tensors.len()];
        for index in order {
            choices[index] = Some(self.choose_one(&mut chooser, &tensors[index])?);
        }
        Ok(choices.into_iter().flatten().collect())
    }

    fn choose_one(&self, chooser: &mut Chooser, tensor: &Tensor) -> Result<Choice, PolicyError> {
        let kept =
            |reason| Choice { ty: tensor.ty, reason, fallback: None, needs_importance: false };
        if let Some(what) = category::never_quantized(chooser.architecture(), tensor) {
            return Ok(kept(Reason::Never(what)));
        }
        let category = Category::of(tensor.name);
        if self.leave_output && category == Category::Output {
            return Ok(kept(Reason::Never("the output tensor")));
        }
        let rule = self.rules.iter().position(|r| r.pattern.is_match(tensor.name));
        let (wanted, reason) =
            if let Some(asked) = self.asked(category, tensor.name, rule.is_some()) {
                asked
            } else if let Some(index) = rule {
                (self.rules[index].ty, Reason::Rule(index))
            } else if self.keep_native_mxfp4 && tensor.ty == GgmlType::MXFP4 {
                return Ok(kept(Reason::NativeMxfp4));
            } else if self.pure {
                (self.mix.base(), Reason::Pure(self.mix))
            } else if let Some(ty) = self.output.filter(|_| chooser.is_output(category)) {
                (ty, Reason::Output)
            } else {
                (chooser.choose(tensor)?, Reason::Mix(self.mix))
            };
        let columns = tensor.shape[0];
        let ty = fit(wanted, columns);
        let fallback = (ty != wanted).then_some(Fallback { from: wanted, columns });
        let needs_importance = needs_importance(tensor.name, ty, self.mix);
        Ok(Choice { ty, reason, fallback, needs_importance })
    }

    /// The type that the user asks for, for a tensor of this category whatever the rules say.
    fn asked(&self, category: Category, name: &str, has_rule: bool) -> Option<(GgmlType, Reason)> {
        match category {
            // The embedding per layer is large and a tensor of its own, so a rule may name it.
            Category::TokenEmbedding if has_rule && name == category::PER_LAYER_EMBEDDING => None,
            Category::TokenEmbedding => self.token_embedding.map(|ty| (ty, Reason::TokenEmbedding)),
            Category::Output => self.output.map(|ty| (ty, Reason::Output)),
            _ => None,
        }
    }
}

/// Whether `name` is of a table that tokens are looked up in.
pub fn is_token_embedding(name: &str) -> bool {
    Category::of(name) == Category::TokenEmbedding
}

/// Whether `name` is of the token embedding or the output projection.
pub fn is_embedding_or_output(name: &str) -> bool {
    is_token_embedding(name) || Category::of(name) == Category::Output
}

/// The order in which llama-quantize chooses types and writes tensors: those outside of layers,
/// then layer by layer; by name within.
pub fn by_layer_and_name(a: &str, b: &str) -> Ordering {
    layer(a).cmp(&layer(b)).then_with(|| a.cmp(b))
}

/// The `N` of `blk.N.`.
pub fn layer(name: &str) -> Option<usize> {
    name.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
}

/// `wanted`, or the type that stands in for it where its block size does not divide `columns`.
fn fit(wanted: GgmlType, columns: u64) -> GgmlType {
    use GgmlType::*;
    let fits = |ty: GgmlType| columns.is_multiple_of(ty.block_size() as u64);
    if fits(wanted) {
        return wanted;
    }
    let smaller = match wanted {
        IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS | IQ2_S | IQ3_XXS | IQ3_S | IQ4_XS => IQ4_NL,
        Q2_K | Q3_K | TQ1_0 | TQ2_0 => Q4_0,
        Q4_K => Q5_0,
        Q5_K => Q5_1,
        Q6_K => Q8_0,
        other => other,
    };
    if fits(smaller) { smaller } else { F16 }
}

/// Whether the result would be garbage without importance: llama.cpp refuses it too.
fn needs_importance(name: &str, ty: GgmlType, mix: Mix) -> bool {
    use GgmlType::*;
    if is_embedding_or_output(name) {
        return false;
    }
    match ty {
        IQ3_XXS | IQ2_XXS | IQ2_XS | IQ2_S | IQ1_M | IQ1_S => true,
        Q2_K => mix == Mix::Q2_K_S,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
