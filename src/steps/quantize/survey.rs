//! What an importance matrix has to say of the tensors that it weighs: weights whose importance is
//! zero, which are lost where whole runs of them are, and experts that were never routed to, of which
//! it knows nothing.

use std::collections::BTreeMap;

use super::importance::Weighing;
use crate::ggml::policy::{Choice, layer};
use crate::ggml::{GgmlType, lost_together};
use crate::gguf::{Imatrix, TensorInfo};
use crate::steps::write_model::matrices;

/// Tensors or layers that one warning names.
const NAMED: usize = 8;

/// What stands out of a matrix, for one format.
#[derive(Debug, Default)]
pub(super) struct Survey {
    zeros: Vec<Zeros>,
    /// Of each tensor the experts, or the one matrix, of which nothing was measured.
    unmeasured: Vec<(String, Unmeasured)>,
    /// Weights that have an importance at all.
    weighed: u64,
}

/// A tensor with weights whose importance is zero.
#[derive(Debug)]
struct Zeros {
    tensor: String,
    ty: GgmlType,
    /// Weights in all.
    of: u64,
    weights: u64,
    /// Those of them that are lost.
    lost: u64,
    /// Matrices of which every column's importance is zero, where that loses all of their rows.
    vanishing: Vec<usize>,
    is_experts: bool,
}

#[derive(Debug)]
struct Unmeasured {
    matrices: Vec<usize>,
    is_experts: bool,
}

impl Survey {
    /// Looks at all values of `matrix` that weigh one of `tensors`.
    pub fn of(
        matrix: &Imatrix,
        tensors: &[TensorInfo],
        choices: &[Choice],
        importance: &[Weighing],
    ) -> Self {
        let mut survey = Self::default();
        for ((info, choice), importance) in tensors.iter().zip(choices).zip(importance) {
            if *importance == Weighing::Used {
                survey.add(matrix, info, choice.ty);
            }
        }
        survey
    }

    fn add(&mut self, matrix: &Imatrix, info: &TensorInfo, ty: GgmlType) {
        let Some(importance) = matrix.get(&info.name) else { return };
        let (columns, count) = (info.columns(), matrices(info));
        let rows = (info.rows() / count) as u64;
        let is_experts = count > 1;
        let (mut unmeasured, mut vanishing) = (Vec::new(), Vec::new());
        let (mut zeros, mut lost) = (0, 0);
        let mut values = Vec::with_capacity(columns);
        for number in 0..count {
            if !importance.is_measured(number, columns) {
                unmeasured.push(number);
                continue;
            }
            importance.read(number, columns, &mut values);
            let here = values.iter().filter(|v| **v == 0.0).count();
            zeros += here as u64;
            if let Some(run) = lost_together(ty).filter(|_| here > 0) {
                let runs = values.chunks(run).filter(|run| run.iter().all(|v| *v == 0.0));
                lost += runs.map(|run| run.len() as u64).sum::<u64>();
                vanishing.extend((here == columns).then_some(number));
            }
        }
        self.weighed += info.elements();
        if !unmeasured.is_empty() {
            let unmeasured = Unmeasured { matrices: unmeasured, is_experts };
            self.unmeasured.push((info.name.to_string(), unmeasured));
        }
        if zeros > 0 {
            self.zeros.push(Zeros {
                tensor: info.name.to_string(),
                ty,
                of: info.elements(),
                weights: zeros * rows,
                lost: lost * rows,
                vanishing,
                is_experts,
            });
        }
    }

    /// Tensors with weights whose importance is zero, and which share of theirs that is.
    pub fn zero_shares(&self) -> BTreeMap<String, f64> {
        self.zeros.iter().map(|z| (z.tensor.clone(), share(z.weights, z.of))).collect()
    }

    /// Experts that were never routed to, by tensor; of a tensor without experts it is number 0.
    pub fn unmeasured(&self) -> BTreeMap<String, Vec<usize>> {
        self.unmeasured.iter().map(|(name, u)| (name.clone(), u.matrices.clone())).collect()
    }

    /// Why the matrix must not be used: rows would be lost whole.
    pub fn refusal(&self, format: &str, path: &str) -> Option<String> {
        let mut vanishing = self.zeros.iter().filter(|z| !z.vanishing.is_empty());
        let first = vanishing.next()?;
        let of = if first.is_experts {
            format!("{} of ", experts(&first.vanishing))
        } else {
            String::new()
        };
        let more = match vanishing.count() {
            0 => String::new(),
            n => format!(", and the like for {n} more tensors"),
        };
        Some(format!(
            "format {format}: the importance matrix {path} is zero for every column of {of}{}, so all \
            of its rows would be lost as {}{more}; measure it again, over text that reaches all \
            experts, or give such tensors a type that does not weigh columns, such as q8_0",
            first.tensor, first.ty
        ))
    }

    /// What there is to say of the matrix that is no reason to stop.
    pub fn warnings(&self, path: &str) -> Vec<String> {
        self.zero_warning(path).into_iter().chain(self.unmeasured_warning(path)).collect()
    }

    fn zero_warning(&self, path: &str) -> Option<String> {
        if self.zeros.is_empty() {
            return None;
        }
        let sum = |of: fn(&Zeros) -> u64| self.zeros.iter().map(of).sum::<u64>();
        let named =
            list(self.zeros.iter().map(|z| format!("{} ({})", z.tensor, percent(z.weights, z.of))));
        let lost = match sum(|z| z.lost) {
            0 => String::new(),
            lost => format!(
                "; where whole blocks are, {} in all, they are lost: written as 0 or as noise",
                percent(lost, self.weighed)
            ),
        };
        Some(format!(
            "in the importance matrix {path} {} of the weights that it weighs have an importance of \
            zero, so that their errors do not count: {named}{lost}",
            percent(sum(|z| z.weights), self.weighed)
        ))
    }

    fn unmeasured_warning(&self, path: &str) -> Option<String> {
        // The projections of one layer share their router, and so the experts that it never chose.
        let mut places: Vec<String> = Vec::new();
        for (name, Unmeasured { matrices, is_experts }) in &self.unmeasured {
            let place = match (is_experts, layer(name)) {
                (true, Some(layer)) => format!("{} of layer {layer}", experts(matrices)),
                (true, None) => format!("{} of {name}", experts(matrices)),
                (false, _) => name.clone(),
            };
            if !places.contains(&place) {
                places.push(place);
            }
        }
        if places.is_empty() {
            return None;
        }
        let named = list(places.into_iter());
        Some(format!(
            "the text of the importance matrix {path} never reached {named}; all of their columns weigh \
            the same"
        ))
    }
}

/// `experts 1, 2 and 5`.
fn experts(numbers: &[usize]) -> String {
    let words: Vec<String> = numbers.iter().map(usize::to_string).collect();
    match &words[..] {
        [one] => format!("expert {one}"),
        [most @ .., last] => format!("experts {} and {last}", most.join(", ")),
        [] => "no expert".to_owned(),
    }
}

/// The first few of `names`, and how many more there are.
fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

fn share(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

fn percent(part: u64, of: u64) -> String {
    format!("{:.1}%", 100.0 * share(part, of))
}
