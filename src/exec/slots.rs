//! Which steps may run side by side.

use std::collections::BTreeMap;

use crate::steps::Load;

/// What runs now.
#[derive(Debug, Default)]
pub struct Slots {
    taken: BTreeMap<usize, Load>,
}

impl Slots {
    /// Which of the waiting steps, given in order, may start now. None overtakes one that wants the
    /// machine alone, so that it gets its turn.
    pub fn choose(&self, waiting: impl Iterator<Item = (usize, Load)>) -> Vec<usize> {
        let mut loads: Vec<Load> = self.taken.values().copied().collect();
        let mut chosen = Vec::new();
        for (step, load) in waiting {
            let fits = match load {
                Load::Alone => loads.is_empty(),
                Load::Heavy => loads.iter().all(|l| *l == Load::Light),
                Load::Light => !loads.contains(&Load::Alone),
            };
            if fits {
                loads.push(load);
                chosen.push(step);
            } else if load == Load::Alone {
                break;
            }
        }
        chosen
    }

    /// Notes that a step has started.
    pub fn take(&mut self, step: usize, load: Load) {
        self.taken.insert(step, load);
    }

    /// Notes that a step has ended.
    pub fn free(&mut self, step: usize) {
        self.taken.remove(&step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BENCH: Load = Load::Alone;
    const HEAVY: Load = Load::Heavy;
    const LIGHT: Load = Load::Light;

    fn chosen(running: &[Load], waiting: &[Load]) -> Vec<usize> {
        let mut slots = Slots::default();
        for (i, load) in running.iter().enumerate() {
            slots.take(100 + i, *load);
        }
        slots.choose(waiting.iter().copied().enumerate())
    }

    #[test]
    fn heavy_steps_run_one_at_a_time_and_light_ones_beside_them() {
        assert_eq!(chosen(&[], &[HEAVY, HEAVY, LIGHT]), [0, 2]);
        assert_eq!(chosen(&[HEAVY], &[HEAVY, LIGHT]), [1]);
        assert_eq!(chosen(&[LIGHT], &[HEAVY]), [0]);
    }

    #[test]
    fn a_bench_has_the_machine_alone_and_is_not_overtaken() {
        assert_eq!(chosen(&[], &[BENCH, HEAVY, LIGHT]), [0]);
        assert!(chosen(&[BENCH], &[HEAVY, LIGHT]).is_empty());
        assert!(chosen(&[LIGHT], &[BENCH, HEAVY]).is_empty());
        assert_eq!(chosen(&[], &[HEAVY, BENCH, LIGHT]), [0]);
    }
}
