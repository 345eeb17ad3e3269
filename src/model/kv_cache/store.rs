//! Panels of rows in one of the types that keys and values are kept in.

use std::ops::Range;

use super::KvCacheType;
use crate::compute::{PANEL, Q8_BLOCK, narrow_f16, narrow_q8, widen_f16, widen_q8};

pub use crate::compute::Order;

/// Panels of [`PANEL`] rows each.
pub struct Store {
    order: Order,
    /// Elements of a row.
    columns: usize,
    numbers: Numbers,
}

/// A `Vec` of zeroes comes from the system page by page as it is used.
enum Numbers {
    F32(Vec<f32>),
    /// Bits of half-precision floats.
    F16(Vec<u16>),
    /// Bits of half-precision scales stand panel by panel: those of the first blocks of all its
    /// rows, then of the second.
    Q8_0 {
        quants: Vec<i8>,
        scales: Vec<u16>,
    },
}

impl Store {
    /// `panels` panels of zeroes.
    pub fn new(kind: KvCacheType, order: Order, columns: usize, panels: usize) -> Self {
        let count = panels * PANEL * columns;
        let numbers = match kind {
            KvCacheType::F32 => Numbers::F32(vec![0.0; count]),
            KvCacheType::F16 => Numbers::F16(vec![0; count]),
            KvCacheType::Q8_0 => {
                Numbers::Q8_0 { quants: vec![0; count], scales: vec![0; count / Q8_BLOCK] }
            }
        };
        Self { order, columns, numbers }
    }

    /// Puts row number `row` of a panel there.
    pub fn put(&mut self, panel: usize, row: usize, from: &[f32]) {
        let (columns, order) = (self.columns, self.order);
        let at = panel * PANEL * columns;
        let place = |element| match order {
            Order::ByRow => at + row * columns + element,
            Order::ByColumn => at + element * PANEL + row,
        };
        match &mut self.numbers {
            Numbers::F32(to) => {
                for (element, x) in from.iter().enumerate() {
                    to[place(element)] = *x;
                }
            }
            Numbers::F16(to) => {
                let mut halves = [0; Q8_BLOCK];
                for (block, from) in from.chunks(Q8_BLOCK).enumerate() {
                    let halves = &mut halves[..from.len()];
                    narrow_f16(from, halves);
                    for (element, half) in halves.iter().enumerate() {
                        to[place(block * Q8_BLOCK + element)] = *half;
                    }
                }
            }
            Numbers::Q8_0 { quants: to, scales } => {
                let mut quants = [0; Q8_BLOCK];
                for (block, from) in from.as_chunks::<Q8_BLOCK>().0.iter().enumerate() {
                    let scale = (at / Q8_BLOCK) + block * PANEL + row;
                    scales[scale] = narrow_q8(from, &mut quants);
                    for (element, q) in quants.iter().enumerate() {
                        to[place(block * Q8_BLOCK + element)] = *q;
                    }
                }
            }
        }
    }

    /// Reads whole panels, each in the store's order.
    pub fn read(&self, panels: Range<usize>, out: &mut [f32]) {
        let size = PANEL * self.columns;
        let all = panels.start * size..panels.end * size;
        match &self.numbers {
            Numbers::F32(from) => out.copy_from_slice(&from[all]),
            Numbers::F16(from) => widen_f16(&from[all], out),
            Numbers::Q8_0 { quants, scales } => {
                let scales = &scales[all.start / Q8_BLOCK..all.end / Q8_BLOCK];
                let panels = quants[all].chunks_exact(size).zip(out.chunks_exact_mut(size));
                let scales = scales.chunks_exact(size / Q8_BLOCK);
                for ((quants, out), scales) in panels.zip(scales) {
                    widen_q8(quants, scales, self.order, out);
                }
            }
        }
    }
}
