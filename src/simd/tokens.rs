//! The sets of instructions that code is compiled for, each as a type whose values prove that this
//! processor has it: their only makers are the functions `detect` here.

use std::sync::LazyLock;

use super::features::has_all;
#[cfg(target_os = "linux")]
use super::features::has_byte_tiles;

/// AVX2, with what every processor that has it has too: FMA, F16C, BMI1, BMI2, LZCNT and POPCNT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx2(());

/// AVX-512 as servers have it (F, BW, DQ and VL), with AVX2 and its companions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512(Avx2);

/// AVX-512 with VNNI, whose one instruction multiplies four bytes and adds them up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vnni(Avx512);

/// AMX with products of bytes, and AVX-512 with VNNI.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amx(Vnni);

/// How far the processor goes: each has what those before it have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Plain,
    Avx2,
    Avx512,
    Vnni,
}

/// The level of this processor, if the operating system keeps its registers. Asked once: a kernel
/// that runs for microseconds asks each time.
#[inline]
fn level() -> Level {
    static LEVEL: LazyLock<Level> = LazyLock::new(|| {
        if cfg!(feature = "portable") {
            return Level::Plain;
        }
        match has_all() {
            [false, ..] => Level::Plain,
            [_, false, _] => Level::Avx2,
            [.., false] => Level::Avx512,
            [true, true, true] => Level::Vnni,
        }
    });
    *LEVEL
}

impl Avx2 {
    /// The proof, where the processor has these and the operating system keeps their registers.
    #[inline]
    pub fn detect() -> Option<Self> {
        (level() >= Level::Avx2).then_some(Self(()))
    }
}

impl Avx512 {
    /// As [`Avx2::detect`].
    #[inline]
    pub fn detect() -> Option<Self> {
        (level() >= Level::Avx512).then_some(Self(Avx2(())))
    }

    /// The smaller set that is part of it.
    #[inline(always)]
    pub fn avx2(self) -> Avx2 {
        self.0
    }
}

impl Vnni {
    /// As [`Avx2::detect`].
    #[inline]
    pub fn detect() -> Option<Self> {
        (level() >= Level::Vnni).then_some(Self(Avx512(Avx2(()))))
    }

    /// The smaller set that is part of it.
    #[inline(always)]
    pub fn avx2(self) -> Avx2 {
        self.0.avx2()
    }
}

#[cfg(target_os = "linux")]
impl Amx {
    /// The proof, where the processor has these and the operating system grants this process the
    /// tiles: it has to be asked, since they are 8 KiB more for every thread to keep. Without that the
    /// first instruction on a tile is an illegal one, whatever the processor says it has.
    #[inline]
    pub fn detect() -> Option<Self> {
        static GRANTED: LazyLock<bool> =
            LazyLock::new(|| Vnni::detect().is_some() && has_byte_tiles() && ask_for_tiles());
        Vnni::detect().filter(|_| *GRANTED).map(Self)
    }

    /// The smaller set that is part of it.
    #[inline(always)]
    pub fn vnni(self) -> Vnni {
        self.0
    }
}

/// Asks Linux for the tiles, for all threads of the process (Documentation/arch/x86/xstate.rst).
#[cfg(target_os = "linux")]
fn ask_for_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the call takes two numbers, and reads and writes no memory of the process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// Methods of one instruction, or a few, of traits whose implementors are tokens.
macro_rules! instruction {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $result:ident = $body:expr;)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($arg: $ty),*) -> Self::$result {
                // SAFETY: `self` proves that the processor has the instructions; loads need no
                // alignment, and arrays have the size of a vector.
                unsafe { $body }
            }
        )*
    };
}
pub(crate) use instruction;
