//! qrun turns a published checkpoint into quantized GGUF files that somebody can trust.
//!
//! The rooms, top floor first; a module uses what stands below it and, where the arrows form no
//! circle, beside it:
//!
//! | floor | modules |
//! |---|---|
//! | 7 | [`cli`] |
//! | 6 | [`exec`] |
//! | 5 | [`plan`], [`state`] |
//! | 4 | [`manifest`], [`steps`] |
//! | 3 | [`model`], [`checkpoint`], [`arch`] |
//! | 2 | [`gguf`], [`tokenizer`] |
//! | 1 | [`ggml`], [`compute`], [`stats`], [`host`], [`simd`], [`downloads`], [`files`], [`words`] |

pub mod arch;
pub mod checkpoint;
pub mod cli;
pub mod compute;
pub mod downloads;
pub mod exec;
pub mod files;
pub mod ggml;
pub mod gguf;
pub mod host;
pub mod manifest;
pub mod model;
pub mod plan;
pub mod simd;
pub mod state;
pub mod stats;
pub mod steps;
pub mod tokenizer;
pub mod words;
