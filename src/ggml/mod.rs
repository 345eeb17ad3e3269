//! Block types of ggml: layouts, quantizers, dequantizers, products, and the mixes that choose
//! a type per tensor. Knows nothing of files or threads, and of models what decides a mix.

mod affine_sub_blocks;
mod arrays;
mod block;
mod blocks32;
mod dispatch;
mod dot;
mod e8m0;
mod floats;
mod grid;
mod instruction_set;
mod iq1_m;
mod iq1_s;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;
mod iq4_nl;
mod iq4_xs;
mod lattice_sub_blocks;
mod le;
mod measures;
mod mix;
mod mxfp4;
mod packing;
pub mod policy;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod quantize;
mod row;
mod rules;
mod scales;
mod search;
mod signed_cells;
mod stored;
mod super_block;
#[cfg(test)]
mod tests;
mod tq1_0;
mod tq2_0;
mod two_cells;
mod types;

pub use dot::{ActivationBlock, Inputs, RowKernel, Scratch};
pub use instruction_set::InstructionSet;
pub(crate) use le::{Bf16Le, F16Le};
pub use mix::{Mix, UnknownMix};
pub use quantize::{
    DequantizeError, QuantizeError, dequantize, dequantize_with, first_non_finite_block,
    lost_together, needs_importance, quantize, quantize_with,
};

pub use stored::{OpaqueType, StoredType};
pub use types::{GgmlType, UnknownType};
