//! The search for the bad records of a batch that was refused.
//!
//! It follows one bad record down by halves. Each half that was not tried meanwhile returns to one pool, which is tried as one
//! call next. What is only inferred (the other half was fine, so this one must be bad) is not believed: a
//! dead letter needs its own call. One bad record in 64 takes at most 8 calls beyond the first, two at most 16
//! (plain halving: 22).

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Try these as one call; then tell `succeeded` or `failed`.
    Try(Vec<T>),
    /// This record failed alone.
    Bad(T),
    /// Every record is either done or bad.
    Done,
}

/// See the module.
#[derive(Debug)]
pub struct Search<T> {
    suspects: Vec<T>,
    /// Whether the suspects failed in a call of their own.
    tried: bool,
    /// The other half of what is being tried.
    rest: Vec<T>,
    pool: Vec<T>,
}

impl<T> Search<T> {
    /// Starts with a batch that failed.
    pub fn new(failed: Vec<T>) -> Self {
        Self { suspects: failed, tried: true, rest: Vec::new(), pool: Vec::new() }
    }

    /// What to do next. Call it again after `Bad`, and after the result of a `Try`.
    pub fn next_step(&mut self) -> Step<T> {
        if self.suspects.len() == 1 && self.tried {
            return self.suspects.pop().map_or(Step::Done, Step::Bad);
        }
        if self.suspects.len() > 1 {
            let half = self.suspects.len().div_ceil(2);
            self.rest = self.suspects.split_off(half);
            return Step::Try(std::mem::take(&mut self.suspects));
        }
        if self.suspects.len() == 1 {
            return Step::Try(std::mem::take(&mut self.suspects));
        }
        if self.pool.is_empty() { Step::Done } else { Step::Try(std::mem::take(&mut self.pool)) }
    }

    /// The call of the last `Try` succeeded: the bad record is in the other half.
    pub fn succeeded(&mut self) {
        self.suspects = std::mem::take(&mut self.rest);
        self.tried = false;
    }

    /// The call of the last `Try` failed: a bad record is in it.
    pub fn failed(&mut self, tried: Vec<T>) {
        self.suspects = tried;
        self.tried = true;
        self.pool.append(&mut self.rest);
    }

    /// Records that are not being tried now.
    pub fn waiting(&self) -> impl Iterator<Item = &T> {
        self.suspects.iter().chain(&self.rest).chain(&self.pool)
    }

    /// Drops every waiting record for which `given_up` holds.
    pub fn remove(&mut self, mut given_up: impl FnMut(&T) -> bool) {
        for part in [&mut self.suspects, &mut self.rest, &mut self.pool] {
            part.retain(|entry| !given_up(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a search over `0..records`; returns the calls made, what was found bad and what succeeded.
    fn search(records: usize, bad: &[usize]) -> (usize, Vec<usize>, Vec<usize>) {
        let (mut calls, mut found, mut good) = (0, Vec::new(), Vec::new());
        let mut search = Search::new((0..records).collect());
        loop {
            match search.next_step() {
                Step::Done => break,
                Step::Bad(record) => found.push(record),
                Step::Try(call) => {
                    calls += 1;
                    assert!(!call.is_empty());
                    if call.iter().any(|record| bad.contains(record)) {
                        search.failed(call);
                    } else {
                        good.extend(call);
                        search.succeeded();
                    }
                }
            }
        }
        found.sort_unstable();
        good.sort_unstable();
        (calls, found, good)
    }

    #[test]
    fn one_bad_record_costs_at_most_eight_calls_wherever_it_lies() {
        for bad in 0..64 {
            let (calls, found, good) = search(64, &[bad]);
            assert_eq!(found, [bad]);
            assert_eq!(good.len(), 63);
            assert!(calls <= 8, "record {bad} took {calls} calls");
        }
    }

    #[test]
    fn two_bad_records_cost_at_most_sixteen_calls_in_all_placements() {
        let mut most = 0;
        for first in 0..64 {
            for second in first + 1..64 {
                let (calls, found, good) = search(64, &[first, second]);
                assert_eq!(found, [first, second]);
                assert_eq!(good.len(), 62);
                most = most.max(calls);
            }
        }
        assert!(most <= 16, "{most} calls");
    }

    #[test]
    fn any_set_is_found_exactly_and_nothing_else_is_lost() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..500 {
            let records = random.usize(1..100);
            let bad: Vec<usize> = (0..records).filter(|_| random.u8(..) < 40).collect();
            // The first call failed by the caller's word, so at least one is bad.
            if bad.is_empty() {
                continue;
            }
            let (_, found, good) = search(records, &bad);
            assert_eq!(found, bad);
            assert_eq!(good.len(), records - bad.len());
        }
    }

    #[test]
    fn a_batch_that_fails_only_together_condemns_nobody() {
        let mut search = Search::new(vec![1, 2]);
        while let Step::Try(call) = search.next_step() {
            assert_eq!(call.len(), 1, "the halves are fine alone");
            search.succeeded();
        }
        assert_eq!(search.next_step(), Step::Done);
    }

    #[test]
    fn a_lone_record_that_failed_in_its_own_call_needs_no_other() {
        assert_eq!(Search::new(vec![5]).next_step(), Step::Bad(5));
    }
}
