use std::collections::BTreeMap;

use super::*;
use crate::domain::retry::Backoff;

/// A provider with a hidden limit, and the loop's hold-offs and slots in front of it, played by the millisecond.
struct Play {
    /// Tokens a call, drawn.
    sizes: (u64, u64),
    burst: f64,
    hints: bool,
    latency: u64,
    /// From which second on, how many tokens a minute.
    limits: Vec<(u64, f64)>,
    /// How likely a call is refused whatever the limit.
    chance: f64,
    /// Whether calls keep to the pace that is found.
    paced: bool,
    seed: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Second {
    taken: u64,
    calls: u32,
    refused: u32,
}

impl Play {
    fn run(&self, seconds: u64) -> Vec<Second> {
        let start = tokio::time::Instant::now().into_std();
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut rate = HiddenRate::default();
        let backoff = Backoff {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(60),
            hint_cap: Duration::from_secs(60),
        };
        let (mut level, mut held, mut congested) = (self.burst, 0, 0);
        let (mut slots, mut spared) = (16.0_f64, 0_usize);
        let mut flying: BTreeMap<(u64, u64), (u64, u64, Option<u64>)> = BTreeMap::new();
        let mut log = vec![Second::default(); usize::try_from(seconds).unwrap()];
        let (mut id, mut next) = (0, rng.u64(self.sizes.0..=self.sizes.1));
        for ms in 0..seconds * 1000 {
            let now = start + Duration::from_millis(ms);
            let limit = self.limits.iter().rev().find(|(from, _)| ms >= from * 1000).unwrap().1 / 60.0;
            level = (level + limit / 1000.0).min(self.burst);
            while let Some((&(due, id), &(tokens, sent, wait))) = flying.first_key_value() {
                if due > ms {
                    break;
                }
                flying.remove(&(due, id));
                spared = spared.saturating_sub(1);
                match wait {
                    None => {
                        congested = 0;
                        slots = (slots + 2.0 / slots).min(16.0);
                        rate.taken(id, now);
                    }
                    Some(wait) => {
                        if held <= ms {
                            congested += 1;
                        }
                        let hint = self.hints.then(|| Duration::from_secs(wait.div_ceil(1000).max(1)));
                        let delay = backoff.delay(congested, hint, rng.f64());
                        held = held.max(ms + u64::try_from(delay.as_millis()).unwrap());
                        if spared == 0 {
                            slots = (slots * 0.75).max(1.0);
                            spared = flying.len() + 1;
                        }
                        rate.refused(id, tokens, start + Duration::from_millis(sent), now);
                    }
                }
            }
            while ms >= held && flying.len() < slots as usize && (!self.paced || rate.is_ready(now)) {
                rate.take(next);
                let second = &mut log[usize::try_from(ms / 1000).unwrap()];
                second.calls += 1;
                // A call above the burst is given by a full bucket, which then owes the rest.
                let missing = (next as f64).min(self.burst) - level;
                let wait = if missing > 0.0 || (self.chance > 0.0 && rng.f64() < self.chance) {
                    second.refused += 1;
                    Some((missing.max(0.0) / limit * 1000.0) as u64)
                } else {
                    second.taken += next;
                    level -= next as f64;
                    None
                };
                id += 1;
                rate.sent(id, next, now);
                let back = if wait.is_some() { 5 } else { self.latency + rng.u64(0..=self.latency / 2) };
                flying.insert((ms + back, id), (next, ms, wait));
                next = rng.u64(self.sizes.0..=self.sizes.1);
            }
        }
        log
    }
}

/// Tokens taken of what was allowed, and calls refused of all, in these seconds.
fn share(log: &[Second], seconds: std::ops::Range<usize>, per_minute: f64) -> (f64, f64) {
    let part = &log[seconds];
    let taken: u64 = part.iter().map(|second| second.taken).sum();
    let (calls, refused) = part.iter().fold((0, 0), |sum, s| (sum.0 + s.calls, sum.1 + s.refused));
    (taken as f64 / (per_minute / 60.0 * part.len() as f64), f64::from(refused) / f64::from(calls.max(1)))
}

const LIMIT: f64 = 300_000.0;

fn plays() -> impl Iterator<Item = Play> {
    let sizes = [(200, 800), (1500, 2500), (5000, 7000), (10_000, 12_000), (500, 16_000)];
    sizes.into_iter().flat_map(|sizes| {
        [5_000.0, 16_000.0, 65_536.0].into_iter().flat_map(move |burst| {
            [true, false].into_iter().filter(move |_| burst >= sizes.1 as f64).flat_map(move |hints| {
                // 16 slots of the smallest calls cannot use the limit at the longest latency.
                (0..if sizes.1 < 1000 { 3 } else { 4 }).map(move |seed| Play {
                    sizes,
                    burst,
                    hints,
                    latency: [50, 200, 600, 1500][usize::try_from(seed).unwrap()],
                    limits: vec![(0, LIMIT)],
                    chance: 0.0,
                    paced: true,
                    seed,
                })
            })
        })
    })
}

impl Play {
    /// A bucket that holds two calls at least, and more than what flows in a second, and calls of up to a few seconds' tokens: what a provider of
    /// this rate is likely to be. What larger calls teach is coarser.
    fn is_usual(&self) -> bool {
        self.sizes.1 <= 12_000 && self.burst >= 2.0 * self.sizes.1 as f64 && self.burst > LIMIT / 60.0
    }

    /// The same where a third of the limit is still several calls in the time in which it is to be found.
    fn is_quick(&self) -> bool {
        self.is_usual() && self.sizes.1 <= 2500
    }

    fn name(&self) -> String {
        let Self { sizes, burst, hints, latency, .. } = self;
        format!("{sizes:?} tokens a call, burst {burst}, hints {hints}, latency {latency} ms")
    }
}

#[test]
fn a_hidden_limit_is_found_and_kept() {
    for play in plays() {
        let log = play.run(120);
        let (used, _) = share(&log, 0..120, LIMIT);
        let (_, refused) = share(&log, 20..120, LIMIT);
        println!("{}: used {used:.3}, refused after 20 s {refused:.4}", play.name());
        // A bucket that holds one call only overflows while the next one waits.
        let holds_one = play.burst < 2.0 * play.sizes.1 as f64;
        let (least, most) = match (play.is_usual(), holds_one) {
            (true, _) => (0.9, 0.02),
            (false, false) => (0.75, 0.1),
            (false, true) => (0.7, 0.1),
        };
        assert!(used >= least && refused < most, "{}: {used} {refused}", play.name());
    }
}

#[test]
fn a_limit_that_falls_and_comes_back_is_followed() {
    for mut play in plays() {
        play.limits = vec![(0, LIMIT), (60, LIMIT / 3.0), (120, LIMIT)];
        let log = play.run(180);
        let (fallen, refused) = share(&log, 80..120, LIMIT / 3.0);
        let (back, _) = share(&log, 140..180, LIMIT);
        println!("{}: fallen {fallen:.3}, refused then {refused:.3}, back {back:.3}", play.name());
        let least = if play.is_quick() { 0.9 } else { 0.5 };
        assert!(fallen >= least && back >= least, "{}: {fallen} {back}", play.name());
    }
}

#[test]
fn refusals_by_chance_are_no_limit() {
    for (chance, hints, latency) in
        [0.01, 0.03, 0.1].into_iter().flat_map(|chance| [(chance, true, 1500), (chance, false, 200)])
    {
        let taken = |paced: bool| -> f64 {
            let play = |seed| {
                let (sizes, burst, limits) = ((1500, 2500), 1e12, vec![(0, 1e12)]);
                Play { sizes, burst, hints, latency, limits, chance, paced, seed }.run(240)
            };
            (0..2).flat_map(|seed| play(seed).split_off(60)).map(|second| second.taken as f64).sum()
        };
        let share = taken(true) / taken(false);
        println!(
            "{chance} of all calls refused, hints {hints}, latency {latency} ms: {share:.3} of what is taken without a pace"
        );
        assert!(share >= 0.85, "{chance} {hints} {latency}: {share}");
    }
}

#[test]
fn one_refusal_alone_limits_nothing() {
    let start = tokio::time::Instant::now().into_std();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let mut rate = HiddenRate::default();
    rate.refused(1, 500, at(0), at(1));
    assert_eq!((rate.is_ready(at(1)), rate.awaits_answer()), (true, false));
    for second in 2..20 {
        rate.sent(second, 500, at(second));
        rate.taken(second, at(second));
    }
    assert_eq!((rate.per_second(), rate.ready_at(at(20)), rate.is_ready(at(20))), (None, None, true));
}

#[test]
fn a_stall_at_the_beginning_is_not_taken_for_a_rate() {
    let start = tokio::time::Instant::now().into_std();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut rate = HiddenRate::default();
    rate.refused(1, 500, at(0), at(5));
    // Counted when they came, and not when they were sent: more was taken in a second than was refused in two.
    for (id, ms) in (2..12).map(|id| (id, 900 + id)) {
        rate.sent(id, 500, at(ms));
        rate.taken(id, at(ms + 100));
    }
    rate.sent(12, 500, at(2_000));
    rate.refused(12, 500, at(2_000), at(2_005));
    assert_eq!(rate.per_second(), None);
}

#[test]
fn while_learning_one_call_at_a_time_follows_a_refusal() {
    let now = tokio::time::Instant::now().into_std();
    let mut rate = HiddenRate::default();
    rate.refused(1, 500, now, now);
    rate.sent(2, 500, now);
    assert!(!rate.is_ready(now) && rate.awaits_answer());
    rate.taken(2, now);
    rate.sent(3, 500, now);
    assert!(rate.is_ready(now));
    rate.sent(4, 500, now);
    assert!(!rate.is_ready(now));
    rate.lost(4);
    assert!(rate.is_ready(now), "a call that was lost is not waited for");
}
