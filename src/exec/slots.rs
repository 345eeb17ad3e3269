//! Which steps may run side by side.

use std::collections::BTreeMap;

use crate::plan::Task;

/// What a step asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// Hardly anything: beside everything but a measurement.
    Light,
    /// All cores: one at a time.
    Heavy,
    /// Measures: nothing beside it.
    Alone,
}

fn load(task: Task) -> Load {
    match task {
        Task::Report | Task::Publish => Load::Light,
        Task::Bench(_) => Load::Alone,
        Task::Verify
        | Task::Convert
        | Task::Quantize(_)
        | Task::LoadCheck(_)
        | Task::Evaluate(_)
        | Task::Compare { .. } => Load::Heavy,
    }
}

/// What runs now.
#[derive(Debug, Default)]
pub struct Slots {
    taken: BTreeMap<usize, Load>,
}

impl Slots {
    /// Which of the waiting steps, given in order, may start now. None overtakes one that wants the
    /// machine alone, so that it gets its turn.
    pub fn choose(&self, waiting: impl Iterator<Item = (usize, Task)>) -> Vec<usize> {
        let mut loads: Vec<Load> = self.taken.values().copied().collect();
        let mut chosen = Vec::new();
        for (step, task) in waiting {
            let load = load(task);
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
    pub fn take(&mut self, step: usize, task: Task) {
        self.taken.insert(step, load(task));
    }

    /// Notes that a step has ended.
    pub fn free(&mut self, step: usize) {
        self.taken.remove(&step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Target;

    const BENCH: Task = Task::Bench(Target::Format(0));
    const HEAVY: Task = Task::Quantize(Target::Format(0));

    fn chosen(running: &[Task], waiting: &[Task]) -> Vec<usize> {
        let mut slots = Slots::default();
        for (i, task) in running.iter().enumerate() {
            slots.take(100 + i, *task);
        }
        slots.choose(waiting.iter().copied().enumerate())
    }

    #[test]
    fn heavy_steps_run_one_at_a_time_and_light_ones_beside_them() {
        assert_eq!(chosen(&[], &[HEAVY, HEAVY, Task::Publish]), [0, 2]);
        assert_eq!(chosen(&[HEAVY], &[HEAVY, Task::Publish]), [1]);
        assert_eq!(chosen(&[Task::Publish], &[HEAVY]), [0]);
    }

    #[test]
    fn a_bench_has_the_machine_alone_and_is_not_overtaken() {
        assert_eq!(chosen(&[], &[BENCH, HEAVY, Task::Publish]), [0]);
        assert!(chosen(&[BENCH], &[HEAVY, Task::Publish]).is_empty());
        assert!(chosen(&[Task::Publish], &[BENCH, HEAVY]).is_empty());
        assert_eq!(chosen(&[], &[HEAVY, BENCH, Task::Publish]), [0]);
    }
}
