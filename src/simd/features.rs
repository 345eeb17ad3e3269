//! What the processor says of itself: the only place where it is asked.

/// Names of the instruction sets that this processor has and kernels could use, in the order of the
/// alphabet; none in a build that uses none.
pub(crate) fn features() -> Vec<&'static str> {
    if cfg!(feature = "portable") {
        return Vec::new();
    }
    let mut features = named();
    features.sort_unstable();
    features
}

/// Those of these names that the standard library's macro finds.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! detected {
    ($detect:ident: $($name:tt),*) => {
        [$(($name, std::arch::$detect!($name))),*]
            .into_iter()
            .filter_map(|(name, has)| has.then_some(name))
            .collect()
    };
}

#[cfg(target_arch = "x86_64")]
fn named() -> Vec<&'static str> {
    let mut features: Vec<&'static str> = detected!(is_x86_feature_detected:
        "sse4.1", "avx", "avx2", "fma", "f16c", "bmi2", "avxvnni", "avx512f", "avx512bw",
        "avx512vl", "avx512vnni", "avx512bf16", "avx512vbmi");
    if has_byte_tiles() {
        features.push("amx-int8");
    }
    features
}

#[cfg(target_arch = "aarch64")]
fn named() -> Vec<&'static str> {
    detected!(is_aarch64_feature_detected:
        "neon", "dotprod", "i8mm", "bf16", "fp16", "sve", "sve2")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn named() -> Vec<&'static str> {
    Vec::new()
}

/// Whether the processor has all of AVX2 and its companions, all of AVX-512 as servers have it, and
/// VNNI; and the operating system keeps their registers.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_all() -> [bool; 3] {
    [
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt"),
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl"),
        is_x86_feature_detected!("avx512vnni"),
    ]
}

/// Whether the processor has tiles and multiplies bytes in them. The standard library's macro tells
/// it in unstable Rust only.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_byte_tiles() -> bool {
    const AMX_TILE: u32 = 1 << 24;
    const AMX_INT8: u32 = 1 << 25;
    // Leaf 7 is there if there is AVX2.
    is_x86_feature_detected!("avx2") && {
        let features = std::arch::x86_64::__cpuid_count(7, 0).edx;
        features & (AMX_TILE | AMX_INT8) == AMX_TILE | AMX_INT8
    }
}
