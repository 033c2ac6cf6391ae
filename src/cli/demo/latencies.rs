//! How long records took: exact to the millisecond, in bounded memory.

/// Longer is counted as this, in milliseconds.
const LONGEST: u64 = 60_000;

/// Upper bounds of the bars, in milliseconds.
const BARS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, LONGEST];

/// A count for each millisecond up to a minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

/// One bar of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    /// From this on, in milliseconds.
    pub(super) from: u64,
    /// Up to this, exclusive (the last bar has no end).
    pub(super) to: u64,
    /// How many.
    pub(super) count: u64,
}

impl Latencies {
    /// Takes in one latency.
    pub(super) fn add(&mut self, milliseconds: u64) {
        let at = usize::try_from(milliseconds.min(LONGEST)).unwrap_or(0);
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.total += 1;
    }

    /// The least latency, in milliseconds, that this share of all does not exceed; 0 if there is none.
    pub(super) fn percentile(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (milliseconds, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return milliseconds as u64;
            }
        }
        0
    }

    /// The counts in steps of 1, 2, 5, without the empty steps at both ends.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let mut from = 0;
        let bars = BARS.map(|to| {
            let last = if to == LONGEST { LONGEST + 1 } else { to };
            let count = (from..last).filter_map(|ms| self.counts.get(usize::try_from(ms).ok()?)).sum();
            let bar = Bar { from, to, count };
            from = to;
            bar
        });
        let (Some(first), Some(last)) =
            (bars.iter().position(|bar| bar.count > 0), bars.iter().rposition(|bar| bar.count > 0))
        else {
            return Vec::new();
        };
        bars[first..=last].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(latencies: impl IntoIterator<Item = u64>) -> Latencies {
        let mut all = Latencies::default();
        latencies.into_iter().for_each(|ms| all.add(ms));
        all
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let all = of(1..=100);
        assert_eq!(all.percentile(0.5), 50);
        assert_eq!(all.percentile(0.99), 99);
        assert_eq!(all.percentile(1.0), 100);
        assert_eq!(all.percentile(0.0), 1);
        assert_eq!(of([7]).percentile(0.5), 7);
        assert_eq!(of([7]).percentile(0.99), 7);
        assert_eq!(of([1, 2]).percentile(0.5), 1);
        assert_eq!(of([]).percentile(0.5), 0);
        assert_eq!(of([0, u64::MAX]).percentile(0.99), LONGEST, "an hour counts as a minute");
    }

    #[test]
    fn bars_hold_every_latency_once() {
        let bars = of([12, 19, 20, 49, 99, 250]).bars();
        let seen: Vec<_> = bars.iter().map(|bar| (bar.from, bar.to, bar.count)).collect();
        assert_eq!(seen, [(10, 20, 2), (20, 50, 2), (50, 100, 1), (100, 200, 0), (200, 500, 1)]);
        assert!(of([]).bars().is_empty());
        for ms in [0, 1, LONGEST - 1, LONGEST, u64::MAX] {
            assert_eq!(of([ms]).bars().iter().map(|bar| bar.count).sum::<u64>(), 1, "{ms}");
        }
    }
}
