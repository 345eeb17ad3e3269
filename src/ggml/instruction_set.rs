//! Which instructions the processor has, and running work compiled for them.

use std::fmt;

#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512, Kernel, Simd};

use super::rules::Scalar;
use super::search::Search;

/// A set of instructions that this processor has: there is no value for one that it lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InstructionSet(Token);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

/// What can be compiled for any set.
pub(super) trait Work {
    type Output;

    /// Does the work. Inlined always, so that it is compiled for the set's instructions.
    fn run<S: Search>(self, search: S) -> Self::Output;
}

/// Work to be done with vectors.
#[cfg(target_arch = "x86_64")]
struct InLanes<W>(W);

#[cfg(target_arch = "x86_64")]
impl<S: Simd, W: Work> Kernel<S> for InLanes<W> {
    type Output = W::Output;

    #[inline(always)]
    fn run(self, set: S) -> W::Output {
        self.0.run(set)
    }
}

impl InstructionSet {
    fn all() -> impl DoubleEndedIterator<Item = Self> {
        let sets = [
            Some(Token::Scalar),
            #[cfg(target_arch = "x86_64")]
            Avx2::detect().map(Token::Avx2),
            #[cfg(target_arch = "x86_64")]
            Avx512::detect().map(Token::Avx512),
        ];
        sets.into_iter().flatten().map(Self)
    }

    /// Every set that this processor has, the plainest first.
    pub fn available() -> Vec<Self> {
        Self::all().collect()
    }

    /// The fastest set of this processor.
    pub fn best() -> Self {
        Self::all().next_back().unwrap_or(Self(Token::Scalar))
    }

    /// The name, as processors' vendors write it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Token::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(_) => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(_) => "AVX-512",
        }
    }

    /// The set itself, or AVX2 in place of AVX-512.
    pub(super) fn without_avx512(self) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Self(Token::Avx512(set)) = self {
            return Self(Token::Avx2(set.avx2()));
        }
        self
    }

    /// Does `work` with these instructions.
    #[inline]
    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            Token::Scalar => work.run(Scalar),
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(set) => set.run(InLanes(work)),
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(set) => set.run(InLanes(work)),
        }
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
