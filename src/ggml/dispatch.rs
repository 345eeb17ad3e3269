//! From a type, which is known at run time, to the block type that code is compiled for.

use super::{GgmlType, RowKernel};

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
            ty => $crate::ggml::dispatch::dispatch_levels!(ty, $block => $body, else { unreachable!("{ty}") }),
        }
    };
}
pub(super) use dispatch;

/// [`dispatch`] for the types with levels; `$other` is evaluated for floats.
macro_rules! dispatch_levels {
    ($ty:expr, $block:ident => $body:expr, else $other:block) => {
        $crate::ggml::dispatch::dispatch_levels!(@arms $ty, $block, $body, $other,
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
pub(super) use dispatch_levels;

impl RowKernel {
    /// The kernel of a type; floats have none.
    pub fn new(ty: GgmlType) -> Option<Self> {
        Some(dispatch_levels!(ty, B => Self::of::<B>(), else { return None }))
    }
}
