//! Heap that a node under test holds. The allocator counts for each thread, and a run is one thread: the harness makes
//! everything that it hands over inside [`Gauge::charge`], and drops what it takes out in there too, so the sum of the
//! differences is the heap that the code under test holds.

use std::cell::Cell;
use std::rc::Rc;

/// One node's account. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(Rc<Cell<Held>>);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Bytes held now.
    pub(crate) bytes: i64,
    /// Most that was held after any call.
    pub(crate) peak: i64,
}

impl Gauge {
    /// Runs `code`, and charges to this gauge the memory that it allocates and does not free.
    pub(crate) fn charge<T>(&self, code: impl FnOnce() -> T) -> T {
        let mut result = None;
        let info = allocation_counter::measure(|| result = Some(code()));
        let Held { bytes, peak } = self.0.get();
        let bytes = bytes + info.bytes_current;
        self.0.set(Held { bytes, peak: peak.max(bytes) });
        result.expect("measure runs its argument")
    }

    pub(crate) fn held(&self) -> Held {
        self.0.get()
    }
}

/// Runs `code` inside a charged region without charging its allocations: the harness's own book-keeping.
pub(crate) fn uncharged<T>(code: impl FnOnce() -> T) -> T {
    let mut result = None;
    allocation_counter::opt_out(|| result = Some(code()));
    result.expect("opt_out runs its argument")
}
