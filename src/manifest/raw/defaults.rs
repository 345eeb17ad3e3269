//! The values that a manifest leaves out.

use toml::Spanned;

use super::{Bench, Convert, LoadCheck, Report};

/// A value that the manifest leaves out.
fn default<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

pub fn keep() -> Spanned<String> {
    default("keep".to_owned())
}

pub fn warn() -> Spanned<String> {
    default("warn".to_owned())
}

pub fn leave_out() -> Spanned<String> {
    default("leave_out".to_owned())
}

pub fn window() -> Spanned<u32> {
    default(512)
}

pub fn greedy_tokens() -> Spanned<u32> {
    default(48)
}

impl Default for Convert {
    fn default() -> Self {
        Self { dtype: default("f32".to_owned()), gguf: None }
    }
}

impl Default for LoadCheck {
    fn default() -> Self {
        Self { timeout: default("120s".to_owned()) }
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            warmups: default(3),
            runs: default(10),
            prompt_tokens: default(128),
            generate_tokens: default(32),
            out: default("bench/bench_results_full.json".to_owned()),
        }
    }
}

impl Default for Report {
    fn default() -> Self {
        Self { dir: default("reports".to_owned()) }
    }
}
