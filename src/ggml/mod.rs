//! Block types of ggml: layouts, quantizers, dequantizers, products, and the mixes that choose
//! a type per tensor. Knows nothing of files, models or threads.

mod affine_blocks;
mod affine_groups;
mod arrays;
mod bfloat16;
mod block;
mod blocks32;
mod dot;
mod float16;
mod float32;
mod grid;
mod iq1_m;
mod iq1_s;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;
mod iq4_nl;
mod iq4_xs;
mod lattice_groups;
mod le;
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
mod rounding;
mod rules;
mod runs;
mod scales;
mod search;
mod signed_cells;
mod simd;
mod super_block;
mod symmetric_blocks;
mod symmetric_groups;
#[cfg(test)]
mod tests;
mod tq1_0;
mod tq2_0;
mod two_cells;
mod types;

pub use dot::{Inputs, RowKernel, Run, Scratch};
pub use mix::{Mix, UnknownMix};
pub use quantize::{
    DequantizeError, QuantizeError, dequantize, dequantize_with, first_non_finite_block, lost_run,
    needs_importance, quantize, quantize_with,
};
pub use simd::InstructionSet;
pub use types::{GgmlType, UnknownType};

/// Evaluates an expression with `$block` standing for the block of `$ty`.
macro_rules! dispatch {
    ($ty:expr, $block:ident => $body:expr) => {
        match $ty {
            $crate::ggml::GgmlType::F32 => {
                type $block = $crate::ggml::le::F32Le;
                $body
            }
            $crate::ggml::GgmlType::F16 => {
                type $block = $crate::ggml::le::F16Le;
                $body
            }
            $crate::ggml::GgmlType::BF16 => {
                type $block = $crate::ggml::le::Bf16Le;
                $body
            }
            ty => $crate::ggml::dispatch_levels!(ty, $block => $body, else { unreachable!("{ty}") }),
        }
    };
}
use dispatch;

/// [`dispatch`] for the types with levels; `$other` is evaluated for floats.
macro_rules! dispatch_levels {
    ($ty:expr, $block:ident => $body:expr, else $other:block) => {
        $crate::ggml::dispatch_levels!(@arms $ty, $block, $body, $other,
            Q4_0 => q4_0::BlockQ4_0,
            Q4_1 => q4_1::BlockQ4_1,
            Q5_0 => q5_0::BlockQ5_0,
            Q5_1 => q5_1::BlockQ5_1,
            Q8_0 => q8_0::BlockQ8_0,
            Q2_K => q2_k::BlockQ2K,
            Q3_K => q3_k::BlockQ3K,
            Q4_K => q4_k::BlockQ4K,
            Q5_K => q5_k::BlockQ5K,
            Q6_K => q6_k::BlockQ6K,
            IQ4_NL => iq4_nl::BlockIq4Nl,
            IQ4_XS => iq4_xs::BlockIq4Xs,
            MXFP4 => mxfp4::BlockMxfp4,
            IQ1_S => iq1_s::BlockIq1S,
            IQ1_M => iq1_m::BlockIq1M,
            IQ2_XXS => iq2_xxs::BlockIq2Xxs,
            IQ2_XS => iq2_xs::BlockIq2Xs,
            IQ2_S => iq2_s::BlockIq2S,
            IQ3_XXS => iq3_xxs::BlockIq3Xxs,
            IQ3_S => iq3_s::BlockIq3S,
            TQ1_0 => tq1_0::BlockTq1_0,
            TQ2_0 => tq2_0::BlockTq2_0,
        )
    };
    (@arms $ty:expr, $block:ident, $body:expr, $other:block,
        $($variant:ident => $module:ident :: $name:ident,)*) => {
        match $ty {
            $crate::ggml::GgmlType::F32
            | $crate::ggml::GgmlType::F16
            | $crate::ggml::GgmlType::BF16 => $other,
            $($crate::ggml::GgmlType::$variant => {
                type $block = $crate::ggml::$module::$name;
                $body
            })*
        }
    };
}
use dispatch_levels;
