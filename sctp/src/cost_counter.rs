//! Counts the steps of loops whose length a peer can choose, in debug builds, so that tests can hold them to be in
//! proportion to what came in. A time would depend on the machine, and on who else uses it.

/// Changes between two recounts of so much, in debug builds. A recount costs more than most changes, so a fuzzer would
/// try few inputs if it recounted after each; what it finds is recounted at each step by the test that replays it.
pub(crate) fn recount_interval(cost: usize) -> usize {
    if cfg!(fuzzing) { cost.max(64) } else { cost }
}

#[cfg(debug_assertions)]
thread_local!(static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });

/// Counts one step.
#[doc(hidden)]
#[inline]
pub fn step() {
    take(1);
}

/// Counts several steps, which a function of the standard library takes.
#[inline]
pub(crate) fn take(count: usize) {
    #[cfg(debug_assertions)]
    STEPS.set(STEPS.get() + count as u64);
    let _ = count;
}

/// Returns the number of steps that this thread has taken so far; 0 without debug assertions.
#[doc(hidden)]
#[must_use]
pub fn steps() -> u64 {
    #[cfg(debug_assertions)]
    let steps = STEPS.get();
    #[cfg(not(debug_assertions))]
    let steps = 0;
    steps
}
