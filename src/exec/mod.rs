//! Scheduler, worker processes, events, cancellation. Knows nothing of terminals or formats.
