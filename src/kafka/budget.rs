//! The memory budget: charged once when a record is polled, released when it is settled or dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;

use std::sync::OnceLock;

/// Bytes in flight. The poll thread polls while less than the maximum is used, so that a record of any size fits; the overshoot is
/// one turn. Nothing else ever waits for it, so it cannot deadlock.
#[derive(Debug)]
pub struct Budget {
    max: u64,
    used: AtomicU64,
    peak: AtomicU64,
    /// Whether the poll thread stopped at a limit: then a release wakes it.
    hungry: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(max: u64) -> Self {
        Self {
            max,
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            hungry: AtomicBool::new(false),
            thread: OnceLock::new(),
        }
    }

    /// Whether another record may be polled.
    pub fn has_room(&self) -> bool {
        self.used() < self.max
    }

    /// Bytes in flight.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// The most bytes that were in flight at once.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Charges a record.
    pub fn charge(&self, bytes: u64) {
        let used = self.used.fetch_add(bytes, Ordering::AcqRel) + bytes;
        self.peak.fetch_max(used, Ordering::Relaxed);
    }

    /// Releases bytes that were charged.
    pub fn release(&self, bytes: u64) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::AcqRel);
            self.wake();
        }
    }

    /// Wakes the poll thread if it stopped at a limit.
    pub fn wake(&self) {
        if self.hungry.swap(false, Ordering::AcqRel) {
            self.unpark();
        }
    }

    /// Wakes the poll thread.
    pub(super) fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    pub(super) fn belongs_to(&self, thread: Thread) {
        self.thread.get_or_init(|| thread);
    }

    pub(super) fn stopped_at_a_limit(&self) {
        self.hungry.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_any_size_fits_while_there_is_room() {
        let budget = Budget::new(100);
        assert!(budget.has_room());
        budget.charge(5_000);
        assert!(!budget.has_room());
        budget.release(4_950);
        assert!(budget.has_room());
        budget.release(50);
        assert_eq!((budget.used(), budget.peak()), (0, 5_000));
    }
}
