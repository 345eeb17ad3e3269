//! Statistics: percentiles with confidence intervals, perplexity, KL divergence, resident memory. Knows nothing of the rest.
