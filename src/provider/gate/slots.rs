//! Calls in flight: additive increase on success, multiplicative decrease when the provider is overloaded.

/// What a hold-off leaves of the slots.
const DECREASE: f64 = 0.75;
/// How many slots a full round of successes adds. With a quarter off per refusal and 2 back per round, 3 % refusals cost under a tenth
/// of 16 slots, and one bad minute is forgotten after a few rounds.
const INCREASE: f64 = 2.0;

#[derive(Debug)]
pub(super) struct Slots {
    /// The settings' limit, of all workers together.
    whole: usize,
    /// This worker's part of it.
    most: f64,
    limit: f64,
    in_flight: usize,
    /// Calls that were in flight at the last decrease: their failures are the same congestion, not another.
    spared: usize,
}

impl Slots {
    pub(super) fn new(whole: usize) -> Self {
        let whole = whole.max(1);
        Self { whole, most: whole as f64, limit: whole as f64, in_flight: 0, spared: 0 }
    }

    pub(super) fn limit(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and a usize")]
        let limit = self.limit as usize;
        limit.max(1)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn free(&self) -> bool {
        self.in_flight < self.limit()
    }

    pub(super) fn take(&mut self) {
        self.in_flight += 1;
    }

    pub(super) fn give_back(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.spared = self.spared.saturating_sub(1);
    }

    pub(super) fn succeeded(&mut self) {
        self.limit = (self.limit + INCREASE / self.limit).min(self.most);
    }

    pub(super) fn congested(&mut self) {
        if self.spared == 0 {
            self.limit = (self.limit * DECREASE).max(1.0);
            // A failed call gives its slot back before it is judged; the one more is for that.
            self.spared = self.in_flight + 1;
        }
    }

    /// Takes `share` of the whole, rounded down (so that the sum of all workers stays within the limit), but one at least.
    pub(super) fn set_share(&mut self, share: f64) {
        let unhindered = self.limit >= self.most;
        // A third of 3 is 1, not 0.999…
        self.most = (self.whole as f64 * share + 1e-6).floor().max(1.0);
        self.limit = if unhindered { self.most } else { self.limit.min(self.most) };
    }
}
