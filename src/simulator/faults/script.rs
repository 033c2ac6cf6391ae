//! A script at work: it counts calls and time, and draws its chances.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Faults, Rule, Texts, Then, When};

/// The rules with what they have seen so far.
#[derive(Debug)]
pub struct Script {
    rules: Vec<Armed>,
    rng: fastrand::Rng,
    started: Instant,
    calls: u64,
}

#[derive(Debug)]
struct Armed {
    when: When,
    then: Arc<Then>,
    fired: u64,
    /// When the last call came while the rule's storm was on.
    storm: Option<Instant>,
    /// The storm is over.
    quiet: bool,
}

impl Script {
    /// Begins a script: its count of calls, its clock and its chances start here.
    pub fn new(faults: Faults, now: Instant) -> Self {
        let arm = |rule: Rule| Armed {
            when: rule.when,
            then: Arc::new(rule.then),
            fired: 0,
            storm: None,
            quiet: false,
        };
        Self {
            rules: faults.rules.into_iter().map(arm).collect(),
            rng: fastrand::Rng::with_seed(faults.seed),
            started: now,
            calls: 0,
        }
    }

    /// Counts a call and decides what happens to it. `None`: it is answered well.
    pub fn next<T: AsRef<str>>(&mut self, inputs: &[T], now: Instant) -> Option<Arc<Then>> {
        self.calls += 1;
        let age = now.saturating_duration_since(self.started);
        for rule in &mut self.rules {
            if rule.in_storm(now) {
                rule.fired += 1;
                return Some(Arc::clone(&rule.then));
            }
            let when = &rule.when;
            let holds = !rule.quiet
                && when.every.is_none_or(|n| self.calls.is_multiple_of(n))
                && when.from.is_none_or(|n| self.calls >= n)
                && when.to.is_none_or(|n| self.calls <= n)
                && when.after.is_none_or(|t| age >= t)
                && when.until.is_none_or(|t| age < t)
                && when.times.is_none_or(|n| rule.fired < n)
                && when.inputs_over.is_none_or(|n| inputs.len() > n)
                && when.bytes_over.is_none_or(|n| inputs.iter().map(|input| input.as_ref().len()).sum::<usize>() > n)
                && when.contains.as_ref().is_none_or(|texts| texts.all_in(inputs))
                // Last, so that a chance is drawn only for calls that it is about.
                && when.probability.is_none_or(|p| self.rng.f64() < p);
            if holds {
                rule.fired += 1;
                rule.storm = rule.when.until_quiet.map(|_| now);
                return Some(Arc::clone(&rule.then));
            }
        }
        None
    }
}

impl Armed {
    /// Whether the storm is on; this call prolongs it.
    fn in_storm(&mut self, now: Instant) -> bool {
        let (Some(quiet), Some(last)) = (self.when.until_quiet, self.storm) else { return false };
        self.quiet |= now.saturating_duration_since(last) >= quiet;
        self.storm = Some(now).filter(|_| !self.quiet);
        !self.quiet
    }
}

impl Texts {
    fn all_in<T: AsRef<str>>(&self, inputs: &[T]) -> bool {
        let occurs = |text: &String| inputs.iter().any(|input| input.as_ref().contains(text.as_str()));
        match self {
            Self::One(text) => occurs(text),
            Self::All(texts) => texts.iter().all(occurs),
        }
    }
}
