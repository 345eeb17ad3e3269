//! The tensor types of ggml: identifiers, names and block sizes, as in `ggml.h` and `ggml.c`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Mix;
use crate::words::did_you_mean;

macro_rules! ggml_types {
    (
        $(#[$doc:meta])*
        $enum:ident { $($variant:ident = $id:literal, $name:literal, $block:literal, $bytes:literal;)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(non_camel_case_types, reason = "the field's own names")]
        #[repr(u32)]
        pub enum $enum { $($variant = $id,)* }

        impl $enum {
            /// Every one of them, in the order of the identifiers.
            pub const ALL: &[$enum] = &[$($enum::$variant,)*];

            /// The type with this identifier in a GGUF file.
            pub fn from_id(id: u32) -> Option<Self> {
                match id { $($id => Some($enum::$variant),)* _ => None }
            }

            /// The name ggml prints, for example `q4_K`.
            pub const fn name(self) -> &'static str {
                match self { $($enum::$variant => $name,)* }
            }

            /// Weights in one block.
            pub const fn block_size(self) -> usize {
                match self { $($enum::$variant => $block,)* }
            }

            /// Bytes of one block.
            pub const fn block_bytes(self) -> usize {
                match self { $($enum::$variant => $bytes,)* }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}
pub(super) use ggml_types;

ggml_types! {
    /// A tensor type of ggml that can be computed with: quantized to, dequantized, multiplied. The
    /// discriminant is the identifier that a GGUF file stores.
    GgmlType {
        F32 = 0, "f32", 1, 4;
        F16 = 1, "f16", 1, 2;
        Q4_0 = 2, "q4_0", 32, 18;
        Q4_1 = 3, "q4_1", 32, 20;
        Q5_0 = 6, "q5_0", 32, 22;
        Q5_1 = 7, "q5_1", 32, 24;
        Q8_0 = 8, "q8_0", 32, 34;
        Q2_K = 10, "q2_K", 256, 84;
        Q3_K = 11, "q3_K", 256, 110;
        Q4_K = 12, "q4_K", 256, 144;
        Q5_K = 13, "q5_K", 256, 176;
        Q6_K = 14, "q6_K", 256, 210;
        IQ2_XXS = 16, "iq2_xxs", 256, 66;
        IQ2_XS = 17, "iq2_xs", 256, 74;
        IQ3_XXS = 18, "iq3_xxs", 256, 98;
        IQ1_S = 19, "iq1_s", 256, 50;
        IQ4_NL = 20, "iq4_nl", 32, 18;
        IQ3_S = 21, "iq3_s", 256, 110;
        IQ2_S = 22, "iq2_s", 256, 82;
        IQ4_XS = 23, "iq4_xs", 256, 136;
        IQ1_M = 29, "iq1_m", 256, 56;
        BF16 = 30, "bf16", 1, 2;
        TQ1_0 = 34, "tq1_0", 256, 54;
        TQ2_0 = 35, "tq2_0", 256, 66;
        MXFP4 = 39, "mxfp4", 32, 17;
    }
}

impl GgmlType {
    /// Bytes of one row of `columns` weights, or `None` where the block size does not divide it
    /// or the product overflows.
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        if !columns.is_multiple_of(self.block_size()) {
            return None;
        }
        (columns / self.block_size()).checked_mul(self.block_bytes())
    }

    /// Whether quantizing to it weighs the columns where their importance is known.
    pub const fn uses_importance(self) -> bool {
        use GgmlType::*;
        !matches!(self, F32 | F16 | BF16 | Q8_0 | MXFP4 | TQ1_0 | TQ2_0)
    }

    /// Bits that one weight takes, block overhead included.
    pub fn bits_per_weight(self) -> f64 {
        self.block_bytes() as f64 * 8.0 / self.block_size() as f64
    }
}

/// A type name that ggml does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown tensor type {0:?}; {help}", help = self.help().unwrap_or_else(Self::expected))]
pub struct UnknownType(pub String);

impl UnknownType {
    /// What was probably meant, in words.
    pub fn help(&self) -> Option<String> {
        match self.0.parse::<Mix>() {
            Ok(mix) => Some(format!("{mix} is a mix; a tensor's type is `{}`", mix.base())),
            Err(_) => did_you_mean(&self.0, GgmlType::ALL.iter().map(|ty| ty.name())),
        }
    }

    fn expected() -> String {
        "expected a ggml type such as q4_K, q8_0 or bf16".to_owned()
    }
}

impl FromStr for GgmlType {
    type Err = UnknownType;

    /// Accepts the name in any case.
    fn from_str(s: &str) -> Result<Self, UnknownType> {
        Self::ALL
            .iter()
            .copied()
            .find(|t| t.name().eq_ignore_ascii_case(s))
            .ok_or_else(|| UnknownType(s.to_owned()))
    }
}

impl Serialize for GgmlType {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for GgmlType {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::{dequantize, lost_together, quantize};

    /// Weights from -1 to 1.
    fn spread(count: usize) -> Vec<f32> {
        let weight = |i: u32| ((i + 1).wrapping_mul(2654435761) >> 16) as f32 / 32768.0 - 1.0;
        (0..count as u32).map(weight).collect()
    }

    #[test]
    fn importance_changes_the_bytes_of_those_types_that_use_it() {
        const COLUMNS: usize = 512;
        let weights = spread(COLUMNS);
        let even = vec![1.0; COLUMNS];
        let uneven: Vec<f32> = (0..COLUMNS).map(|i| ((i * 7) % 11 + 1) as f32).collect();
        for &ty in GgmlType::ALL {
            let bytes = |importance: &[f32]| {
                let mut bytes = vec![0; ty.row_bytes(COLUMNS).unwrap()];
                quantize(ty, &weights, COLUMNS, Some(importance), &mut bytes).unwrap();
                bytes
            };
            assert_eq!(bytes(&even) != bytes(&uneven), ty.uses_importance(), "{ty}");
        }
    }

    #[test]
    fn what_has_no_importance_is_lost_together() {
        const COLUMNS: usize = 512;
        let weights = spread(COLUMNS);
        // Share of the first weights' squares that is lost where their importance is zero.
        let lost = |ty: GgmlType, zeros: usize| {
            let importance: Vec<f32> =
                (0..COLUMNS).map(|i| if i < zeros { 0.0 } else { (i % 7 + 1) as f32 }).collect();
            let mut bytes = vec![0; ty.row_bytes(COLUMNS).unwrap()];
            quantize(ty, &weights, COLUMNS, Some(&importance), &mut bytes).unwrap();
            let mut back = vec![0.0; COLUMNS];
            dequantize(ty, &bytes, &mut back).unwrap();
            let pairs = || weights.iter().zip(&back).take(zeros);
            let squares: f32 = pairs().map(|(w, _)| w * w).sum();
            pairs().map(|(w, b)| (w - b) * (w - b)).sum::<f32>() / squares
        };
        for &ty in GgmlType::ALL.iter().filter(|ty| ty.uses_importance()) {
            match lost_together(ty) {
                Some(count) => assert!(lost(ty, count) > 0.5, "{ty}: {}", lost(ty, count)),
                None => assert!(lost(ty, COLUMNS) < 0.03, "{ty}: {}", lost(ty, COLUMNS)),
            }
        }
        // Fewer take their scale from what stands beside them.
        for (ty, count) in [(GgmlType::Q4_0, 16), (GgmlType::Q6_K, 8), (GgmlType::Q4_K, 128)] {
            assert!(lost(ty, count) < 0.03, "{ty}");
        }
    }
}
