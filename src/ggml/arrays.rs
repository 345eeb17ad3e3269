//! Arrays: super-blocks as sub-blocks, and arrays made element by element in loops. The standard
//! library's `map` and `from_fn` become functions of their own where they are not small, and those
//! are compiled without the instructions of the set that runs them: vectors in them are then passed
//! through memory, to functions of one instruction each.

/// `array::map`.
#[inline(always)]
pub(super) fn map<T: Copy, U: Copy + Default, const N: usize>(
    x: [T; N],
    f: impl Fn(T) -> U,
) -> [U; N] {
    let mut y = [U::default(); N];
    for i in 0..N {
        y[i] = f(x[i]);
    }
    y
}

/// The sub-blocks of super-blocks.
#[inline(always)]
pub(super) fn sub_blocks<const N: usize, T>(x: &[[T; 256]]) -> &[[T; N]] {
    x.as_flattened().as_chunks().0
}

/// The sub-blocks of super-blocks, to write to.
#[inline(always)]
pub(super) fn sub_blocks_mut<const N: usize, T>(x: &mut [[T; 256]]) -> &mut [[T; N]] {
    x.as_flattened_mut().as_chunks_mut().0
}
