//! Manifest and state to a step graph with a key and a verdict per step. Knows nothing of how a step works inside.
