//! The rules of a format, which give types to tensors by name: whether they make sense.

use regex::Regex;

use crate::ggml::policy::{self, Choice, Reason, Rule};
use crate::steps::TensorRule;

/// The rules with their patterns ready to be searched for.
pub(super) fn compile(rules: &[TensorRule]) -> Result<Vec<Rule>, String> {
    let compile = |rule: &TensorRule| match Regex::new(&rule.pattern) {
        Ok(pattern) => Ok(Rule { pattern, ty: rule.ggml_type }),
        Err(e) => Err(format!("{:?} is no regular expression: {e}", rule.pattern)),
    };
    rules.iter().map(compile).collect()
}

/// Refuses a rule that matches no tensor: it is a typing error.
pub(super) fn all_match(rules: &[Rule], tensors: &[policy::Tensor<'_>]) -> Result<(), String> {
    match rules.iter().find(|r| !tensors.iter().any(|t| r.pattern.is_match(t.name))) {
        None => Ok(()),
        Some(rule) => Err(format!(
            "the tensor rule {:?} matches none of the {} tensors; `qrun inspect` lists their names",
            rule.pattern.as_str(),
            tensors.len()
        )),
    }
}

/// What to say of rules that match tensors and still decide nothing.
pub(super) fn idle(
    rules: &[Rule],
    tensors: &[policy::Tensor<'_>],
    choices: &[Choice],
) -> Vec<String> {
    let idle = |(index, rule): (usize, &Rule)| {
        if choices.iter().any(|c| c.reason == Reason::Rule(index)) {
            return None;
        }
        let mut matched = tensors.iter().zip(choices);
        let (tensor, choice) = matched.find(|(t, _)| rule.pattern.is_match(t.name))?;
        Some(format!(
            "the tensor rule {:?} decides nothing: what it matches is never quantized, or decided \
             by an option or an earlier rule, such as {} ({})",
            rule.pattern.as_str(),
            tensor.name,
            choice.why(rules)
        ))
    };
    rules.iter().enumerate().filter_map(idle).collect()
}
