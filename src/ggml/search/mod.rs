//! Searches for the scale (and minimum) of a sub-block of weights that make the smallest error. Blocks
//! of 32 weights are searched as sub-blocks are, and so are the scales of a super-block's sub-blocks.
//!
//! They decide the bytes of a file, so each follows its namesake in llama.cpp's
//! `ggml/src/ggml-quants.c` in the order and the precision of every operation. Each is there twice:
//! readable, for one sub-block, and in `lanes/`, for as many sub-blocks as a vector has lanes; with
//! the batches that either searches.

mod affine;
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
pub(super) use affine::{Affine, AffineBatch, AffineSearch, Deviation, ErrorWeights, Steps};
pub(super) use positive::PositiveBatch;
pub(super) use symmetric::{RefinedBatch, SymmetricBatch};
pub(super) use way::Search;
pub(super) use weigh::{weigh, weigh_blocks};
