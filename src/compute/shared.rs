//! A mutable slice whose elements several threads write, each its own.

use std::marker::PhantomData;

/// A slice that threads may write together as long as no element is touched by two of them.
///
/// A matrix product's threads own rows of the matrix, which are columns of the output: disjoint,
/// but not a set of sub-slices that `split_at_mut` could give.
pub struct SharedSlice<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for an exclusive borrow of `[T]`, and the only way to use it from several
// threads is through `slice_mut`, whose contract forbids overlapping use.
unsafe impl<T: Send> Send for SharedSlice<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedSlice<'_, T> {}

impl<'a, T> SharedSlice<'a, T> {
    /// Takes the slice for as long as it is shared.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), borrow: PhantomData }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements `start..start + len`.
    ///
    /// # Panics
    /// If they are not all inside the slice.
    ///
    /// # Safety
    /// While the returned slice lives, no other slice had from `self` may contain any of them.
    #[allow(clippy::mut_from_ref, reason = "the caller vouches for disjointness")]
    pub unsafe fn slice_mut(&self, start: usize, len: usize) -> &mut [T] {
        assert!(
            start <= self.len && len <= self.len - start,
            "{start}+{len} outside of {}",
            self.len
        );
        // SAFETY: in bounds by the assertion, exclusively borrowed for 'a by `new`, and disjoint
        // from every other live slice by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
