//! Threads and numeric kernels over slices: matrix products, attention, norms. Knows nothing of models or files.
