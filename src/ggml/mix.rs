//! The mixes: which quantization a whole file gets. Most mix several types; which tensor gets
//! which is [`policy`](super::policy)'s business.

use std::fmt;
use std::str::FromStr;

use super::GgmlType;
use crate::words::did_you_mean;

macro_rules! mixes {
    ($($variant:ident = $file_type:literal, $name:literal, $base:ident;)*) => {
        /// A quantization of a whole file, as `llama-quantize` names them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types, reason = "the field's own names")]
        pub enum Mix { $($variant,)* }

        impl Mix {
            /// Every mix.
            pub const ALL: &[Mix] = &[$(Mix::$variant,)*];

            /// The canonical spelling, for example `q4_K_M`.
            pub const fn name(self) -> &'static str {
                match self { $(Mix::$variant => $name,)* }
            }

            /// The number that the metadata `general.file_type` holds; llama.cpp's `llama_ftype`.
            pub const fn file_type(self) -> u32 {
                match self { $(Mix::$variant => $file_type,)* }
            }

            /// The type of tensors about which the mix has no rule of its own.
            pub const fn base(self) -> GgmlType {
                match self { $(Mix::$variant => GgmlType::$base,)* }
            }
        }
    };
}

mixes! {
    F32 = 0, "f32", F32;
    F16 = 1, "f16", F16;
    Q4_0 = 2, "q4_0", Q4_0;
    Q4_1 = 3, "q4_1", Q4_1;
    Q8_0 = 7, "q8_0", Q8_0;
    Q5_0 = 8, "q5_0", Q5_0;
    Q5_1 = 9, "q5_1", Q5_1;
    Q2_K = 10, "q2_K", Q2_K;
    Q3_K_S = 11, "q3_K_S", Q3_K;
    Q3_K_M = 12, "q3_K_M", Q3_K;
    Q3_K_L = 13, "q3_K_L", Q3_K;
    Q4_K_S = 14, "q4_K_S", Q4_K;
    Q4_K_M = 15, "q4_K_M", Q4_K;
    Q5_K_S = 16, "q5_K_S", Q5_K;
    Q5_K_M = 17, "q5_K_M", Q5_K;
    Q6_K = 18, "q6_K", Q6_K;
    IQ2_XXS = 19, "iq2_xxs", IQ2_XXS;
    IQ2_XS = 20, "iq2_xs", IQ2_XS;
    Q2_K_S = 21, "q2_K_S", Q2_K;
    IQ3_XS = 22, "iq3_xs", IQ3_S;
    IQ3_XXS = 23, "iq3_xxs", IQ3_XXS;
    IQ1_S = 24, "iq1_s", IQ1_S;
    IQ4_NL = 25, "iq4_nl", IQ4_NL;
    IQ3_S = 26, "iq3_s", IQ3_S;
    IQ3_M = 27, "iq3_m", IQ3_S;
    IQ2_S = 28, "iq2_s", IQ2_XS;
    IQ2_M = 29, "iq2_m", IQ2_S;
    IQ4_XS = 30, "iq4_xs", IQ4_XS;
    IQ1_M = 31, "iq1_m", IQ1_M;
    BF16 = 32, "bf16", BF16;
    TQ1_0 = 36, "tq1_0", TQ1_0;
    TQ2_0 = 37, "tq2_0", TQ2_0;
    MXFP4_MOE = 38, "mxfp4_moe", MXFP4;
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no mix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {0:?}; {help}", help = self.help().unwrap_or_else(Self::expected))]
pub struct UnknownMix(pub String);

impl UnknownMix {
    /// What was probably meant, in words.
    pub fn help(&self) -> Option<String> {
        did_you_mean(&self.0, Mix::ALL.iter().map(|mix| mix.name()))
    }

    fn expected() -> String {
        let names: Vec<&str> = Mix::ALL.iter().map(|mix| mix.name()).collect();
        format!("expected one of {}", names.join(", "))
    }
}

impl FromStr for Mix {
    type Err = UnknownMix;

    /// Accepts the name in any case, and `q3_K`, `q4_K` and `q5_K` for their `_M`.
    fn from_str(s: &str) -> Result<Self, UnknownMix> {
        let named =
            |name: &str| Self::ALL.iter().copied().find(|m| m.name().eq_ignore_ascii_case(name));
        let medium = || ["q3_K", "q4_K", "q5_K"].iter().any(|a| a.eq_ignore_ascii_case(s));
        named(s)
            .or_else(|| if medium() { named(&format!("{s}_M")) } else { None })
            .ok_or_else(|| UnknownMix(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_in_any_case_to_the_canonical_spelling() {
        for &mix in Mix::ALL {
            assert_eq!(mix.name().parse(), Ok(mix));
            assert_eq!(mix.name().to_uppercase().parse(), Ok(mix));
            assert_eq!(mix.name().to_lowercase().parse(), Ok(mix));
        }
        assert_eq!("Q4_k".parse(), Ok(Mix::Q4_K_M));
        assert_eq!("q6".parse::<Mix>(), Err(UnknownMix("q6".into())));
    }
}
