//! Exact sizes of the model files that a plan writes, from headers alone.

use std::collections::BTreeMap;

use super::{Judgement, Plan, StepState};

impl Plan {
    /// Bytes of each model file, by step number: of a file that is there already as it is, of
    /// others from the headers of what they are made from. A step is left out where those cannot
    /// be read; the step itself will say why.
    pub(super) fn model_bytes(&self, judgements: &[Judgement]) -> BTreeMap<usize, u64> {
        let mut sizes = BTreeMap::new();
        for (step, judgement) in judgements.iter().enumerate() {
            if let (StepState::Fresh(done), Some(_)) = (&self.states[step], &judgement.action)
                && let [output] = done.outputs.as_slice()
            {
                sizes.insert(step, output.bytes);
            }
        }
        sizes
    }
}
