//! Ctrl-C and SIGTERM: the first asks to stop at the next safe point, the second stops at once.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};

/// The flag that a first SIGINT or SIGTERM sets. The handlers are installed at the first call; a
/// second signal ends the process with exit code 130.
pub fn flag() -> Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Handlers run in the order of registration, so the first signal finds the flag still
            // unset and only sets it. Registering fails only for signals that cannot be caught.
            let registered =
                signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))
                    .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)));
            if let Err(error) = registered {
                tracing::warn!(signal, %error, "cannot catch the signal; it will stop qrun at once");
            }
        }
        flag
    })
    .clone()
}
