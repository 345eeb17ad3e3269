//! The instructions of AMX: tiles of 16 rows of up to 64 bytes, and the products of two of them.
//! Knows nothing of weights. (Intel, Architecture Instruction Set Extensions Programming Reference,
//! chapter 3.)

use std::arch::asm;
use std::cell::Cell;
use std::marker::PhantomData;

use crate::simd::Amx;

/// Rows of a tile: tokens, or rows of weights.
pub const ROWS: usize = 16;

/// Sums of the products of a group, 16 rows of weights by token.
pub type Sums = [[i32; ROWS]; ROWS];

/// What `ldtilecfg` reads.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

thread_local! {
    /// Whether this thread has tiles.
    static HELD: Cell<bool> = const { Cell::new(false) };
}

/// Tiles that are configured, on this thread: 0 to 3 for sums, 4 and 5 for activations, 6 and 7 for
/// weights.
pub struct Tiles(PhantomData<*const ()>);

impl Tiles {
    /// Tiles for products of `tokens` tokens, until they are [given back](Self::drop).
    ///
    /// # Panics
    /// If there are more than [`ROWS`], or if this thread has tiles already: they would be the same.
    pub fn new(_: Amx, tokens: usize) -> Self {
        let mut config = Config { palette: 1, ..bytemuck::Zeroable::zeroed() };
        assert!((1..=ROWS).contains(&tokens), "{tokens} tokens in a tile");
        for sums in 0..4 {
            (config.rows[sums], config.row_bytes[sums]) = (tokens as u8, 64);
        }
        for activations in 4..6 {
            (config.rows[activations], config.row_bytes[activations]) = (tokens as u8, 32);
        }
        for weights in 6..8 {
            (config.rows[weights], config.row_bytes[weights]) = (8, 64);
        }
        assert!(!HELD.replace(true), "one configuration of tiles at a time");
        // SAFETY: the first argument proves that the processor has tiles and the process may use them; the
        // instruction reads the 64 bytes of the configuration.
        unsafe {
            asm!(
                "ldtilecfg [{}]",
                in(reg) &raw const config,
                options(nostack, preserves_flags, readonly),
            );
        }
        Self(PhantomData)
    }

    /// Sums of products of the activations of a group, 32 of each token, with the levels of twice 16
    /// rows, four of each row side by side.
    #[inline(always)]
    pub fn multiply(
        &self,
        activations: &[[i8; 32]; ROWS],
        levels: [&[[u32; ROWS]; 8]; 2],
        [first, second]: [&mut Sums; 2],
    ) {
        // SAFETY: a value of the type proves that tiles are configured, with at most 16 rows, and
        // that nothing else on its thread configures or releases them; the
        // loads and stores are of as many rows as the arrays have.
        unsafe {
            asm!(
                "tileloadd tmm4, [{activations} + {half_line}]",
                "tileloadd tmm6, [{first_levels} + {line}]",
                "tilezero tmm0",
                "tdpbssd tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{second_levels} + {line}]",
                "tilezero tmm1",
                "tdpbssd tmm1, tmm4, tmm7",
                "tilestored [{first} + {line}], tmm0",
                "tilestored [{second} + {line}], tmm1",
                activations = in(reg) activations,
                first_levels = in(reg) levels[0],
                second_levels = in(reg) levels[1],
                first = in(reg) first,
                second = in(reg) second,
                half_line = in(reg) 32_usize,
                line = in(reg) 64_usize,
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags),
            );
        }
    }

    /// [`multiply`](Self::multiply) for the activations of twice as many tokens: weights are loaded
    /// once for both.
    #[inline(always)]
    pub fn multiply_two(
        &self,
        activations: [&[[i8; 32]; ROWS]; 2],
        levels: [&[[u32; ROWS]; 8]; 2],
        sums: [[&mut Sums; 2]; 2],
    ) {
        let [[first, second], [third, fourth]] = sums;
        // SAFETY: as above.
        unsafe {
            asm!(
                "tileloadd tmm4, [{activations} + {half_line}]",
                "tileloadd tmm6, [{first_levels} + {line}]",
                "tilezero tmm0",
                "tdpbssd tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{second_levels} + {line}]",
                "tilezero tmm1",
                "tdpbssd tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{more_activations} + {half_line}]",
                "tilezero tmm2",
                "tdpbssd tmm2, tmm5, tmm6",
                "tilezero tmm3",
                "tdpbssd tmm3, tmm5, tmm7",
                "tilestored [{first} + {line}], tmm0",
                "tilestored [{second} + {line}], tmm1",
                "tilestored [{third} + {line}], tmm2",
                "tilestored [{fourth} + {line}], tmm3",
                activations = in(reg) activations[0],
                more_activations = in(reg) activations[1],
                first_levels = in(reg) levels[0],
                second_levels = in(reg) levels[1],
                first = in(reg) first,
                second = in(reg) second,
                third = in(reg) third,
                fourth = in(reg) fourth,
                half_line = in(reg) 32_usize,
                line = in(reg) 64_usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags),
            );
        }
    }
}

impl Drop for Tiles {
    /// Gives the tiles back: as long as a thread has them, it is switched to and from more slowly.
    fn drop(&mut self) {
        // SAFETY: a value of the type proves that there are tiles; it is the only one of its thread.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) }
        HELD.set(false);
    }
}
