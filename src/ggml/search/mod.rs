//! Searches for the scale (and minimum) of a group of weights that make the smallest error.
//!
//! They decide the bytes of a file, so each follows its namesake in llama.cpp's
//! `ggml/src/ggml-quants.c` in the order and the precision of every operation. Each is there
//! twice: readable, for one group, and in `lanes/`, for as many groups as a vector has lanes.

mod affine;
mod batch;
pub(super) mod codebook;
mod lanes;
pub(super) mod lattice;
mod nearest;
mod positive;
mod symmetric;
pub(super) mod ternary;
mod way;
mod weigh;

pub(super) use super::measures::{EPSILON, largest, sum, sum_of_squares};
pub(super) use affine::{Affine, AffineBatch, AffineSearch, Error, Steps, Weights};
pub(super) use positive::PositiveBatch;
pub(super) use symmetric::{RefinedBatch, SymmetricBatch};
pub(super) use way::Search;
pub(super) use weigh::{weigh, weigh_blocks};
