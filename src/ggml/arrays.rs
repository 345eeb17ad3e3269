//! Arrays made element by element in loops. The standard library's `map` and `from_fn` become
//! functions of their own where they are not small, and those are compiled without the
//! instructions of the set that runs them: vectors in them are then passed through memory, to
//! functions of one instruction each.

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
