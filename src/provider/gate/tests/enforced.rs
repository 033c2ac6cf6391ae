//! A provider that enforces exactly the limits that the gate was given.

use super::*;

/// A provider that enforces `amount` a minute by a bucket that holds `capacity`; says how many calls it refuses.
fn refusals(arrivals: &[(Duration, u64)], amount: u64, capacity: f64) -> usize {
    let per_second = amount as f64 / 60.0;
    let (mut level, mut last) = (capacity, Duration::ZERO);
    let mut refused = 0;
    for (at, cost) in arrivals {
        level = (level + per_second * (*at - last).as_secs_f64()).min(capacity);
        last = *at;
        if level < *cost as f64 {
            refused += 1;
        } else {
            level -= *cost as f64;
        }
    }
    refused
}

/// The admissions as they arrive, each up to 20 ms late, and what a provider with exactly these limits refuses of them: its
/// buckets hold one second or two batches, whichever is more.
fn refused(admitted: &[(Duration, u64)], requests: u64, tokens: u64, max_tokens: u64) -> usize {
    let rng = &mut fastrand::Rng::with_seed(tokens ^ max_tokens);
    let mut late = |at: Duration| at + Duration::from_micros(rng.u64(0..=20_000));
    let mut arrivals: Vec<_> = admitted.iter().map(|(at, tokens)| (late(*at), *tokens)).collect();
    arrivals.sort();
    let calls: Vec<_> = arrivals.iter().map(|(at, _)| (*at, 1)).collect();
    refusals(&arrivals, tokens, (tokens as f64 / 60.0).max(2.0 * max_tokens as f64))
        + refusals(&calls, requests, (requests as f64 / 60.0).max(2.0))
}

const CASES: [(u64, u64, u64); 4] =
    [(3000, 600_000, 32_768), (3000, 600_000, 8192), (3000, 6_000_000, 32_768), (12_000, 60_000_000, 32_768)];

#[test]
fn a_provider_with_exactly_our_rate_refuses_nothing_and_is_used() {
    for (requests, tokens, max_tokens) in CASES {
        let now = start();
        let settings = limits(rate(requests, MINUTE), rate(tokens, MINUTE), 1000);
        let mut gate = Gate::new(&settings, max_tokens, now);
        let sizes = &mut fastrand::Rng::with_seed(1);
        let next = || (sizes.u64(max_tokens / 8..=max_tokens), None);
        let admitted = drive(&mut gate, now, Duration::from_secs(70), ms(200), next);
        assert_eq!(refused(&admitted, requests, tokens, max_tokens), 0, "{tokens}/min by {max_tokens}");
        let used: u64 = admitted.iter().filter(|(at, _)| at.as_secs() >= 10).map(|(_, tokens)| tokens).sum();
        let share = used as f64 / tokens as f64;
        assert!(share >= 0.97, "{tokens}/min by {max_tokens}: {share}");
    }
}

#[test]
fn nothing_is_refused_after_a_stall_either() {
    for (requests, tokens, max_tokens) in
        [(60_000, 600_000, 4096), (600, 600_000, 512)].into_iter().chain(CASES)
    {
        let now = start();
        let mut gate = Gate::new(&limits(rate(requests, MINUTE), rate(tokens, MINUTE), 10), max_tokens, now);
        let sizes = &mut fastrand::Rng::with_seed(2);
        let (mut admitted, mut at) = (Vec::new(), Duration::ZERO);
        let mut next = sizes.u64(max_tokens / 8..=max_tokens);
        while at.as_secs() < 70 {
            // All slots hang for 3 s of each 10 s, and everything is saved up.
            at = at.max(Duration::from_secs(at.as_secs() / 10 * 10 + 3));
            while gate.admit(next, now + at) {
                gate.release();
                admitted.push((at, next));
                next = sizes.u64(max_tokens / 8..=max_tokens);
            }
            let Ready::At(moment) = gate.ready_at(next, now + at) else { panic!("refused, and yet ready") };
            at = moment - now;
        }
        assert_eq!(
            refused(&admitted, requests, tokens, max_tokens),
            0,
            "{requests}, {tokens}/min by {max_tokens}"
        );
    }
}
