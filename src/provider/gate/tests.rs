mod enforced;
mod stated;

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn rate(amount: u64, period: Duration) -> Option<Rate> {
    Some(Rate { amount, period })
}

fn limits(requests: Option<Rate>, tokens: Option<Rate>, in_flight: usize) -> Limits {
    let mut limits = Limits::default();
    (limits.requests, limits.tokens, limits.in_flight) = (requests, tokens, in_flight);
    limits
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Admits a backlog as a loop does that is woken at `ready_at`; calls last `latency`. Gives the admissions in `0..span`.
fn drive(
    gate: &mut Gate,
    origin: Instant,
    span: Duration,
    latency: Duration,
    mut next: impl FnMut() -> (u64, Option<u64>),
) -> Vec<(Duration, u64)> {
    let mut now = origin;
    let mut ends = std::collections::VecDeque::new();
    let mut admitted = Vec::new();
    let (mut tokens, mut usage) = next();
    while now < origin + span {
        while ends.front().is_some_and(|(end, _, _)| *end <= now) {
            if let Some((_, estimate, usage)) = ends.pop_front() {
                gate.release();
                gate.settle(estimate, usage);
                gate.succeeded();
            }
        }
        while gate.admit(tokens, now) {
            admitted.push((now - origin, tokens));
            ends.push_back((now + latency, tokens, usage));
            (tokens, usage) = next();
        }
        let end = ends.front().map(|(end, _, _)| *end);
        now = match gate.ready_at(tokens, now) {
            Ready::Now => panic!("refused, and yet ready"),
            Ready::At(at) => {
                assert!(at > now, "a loop would spin");
                end.map_or(at, |end| end.min(at))
            }
            Ready::Slot => end.expect("a slot is taken by a call that ends"),
        };
    }
    admitted
}

fn most_in_any_window(admitted: &[(Duration, u64)], window: Duration) -> u64 {
    (0..admitted.len())
        .map(|first| {
            let end = admitted[first].0 + window;
            admitted[first..].iter().take_while(|(at, _)| *at <= end).map(|(_, tokens)| tokens).sum()
        })
        .max()
        .unwrap_or(0)
}

#[test]
fn nothing_is_earned_at_the_start() {
    let now = start();
    let mut gate = Gate::new(&limits(rate(3000, MINUTE), rate(600_000, MINUTE), 16), 32_768, now);
    assert!(!gate.admit(10_000, now));
    assert_eq!(gate.ready_at(10_000, now), Ready::At(now + ms(1000)));
    assert!(!gate.admit(10_000, now + ms(999)));
    assert!(gate.admit(10_000, now + ms(1000)));
    assert_eq!(gate.in_flight(), 1);
}

#[test]
fn a_refusal_takes_nothing() {
    let now = start();
    // One request a second, and tokens to spare; then the reverse.
    let mut gate = Gate::new(&limits(rate(60, MINUTE), rate(6000, MINUTE), 16), 1000, now);
    let later = now + ms(10_000);
    assert!(gate.admit(100, later));
    for _ in 0..50 {
        assert!(!gate.admit(900, later), "the request is missing");
    }
    assert_eq!(gate.waiting_for(900, later), Some(Limit::Requests));
    assert!(gate.admit(900, later + ms(1000)), "the tokens are still there");
    for _ in 0..50 {
        assert!(!gate.admit(1000, later + ms(2000)), "the tokens are missing");
    }
    assert_eq!(gate.waiting_for(1000, later + ms(2000)), Some(Limit::Tokens));
    assert!(gate.admit(1, later + ms(2000)), "the request is still there");
}

#[test]
fn without_limits_only_slots_count() {
    let now = start();
    let mut gate = Gate::new(&limits(None, None, 2), 1000, now);
    assert_eq!(gate.ready_at(u64::MAX, now), Ready::Now);
    assert!(gate.admit(u64::MAX, now) && gate.admit(1, now));
    assert!(!gate.admit(1, now));
    assert_eq!(gate.ready_at(1, now), Ready::Slot);
    assert_eq!(gate.waiting_for(1, now), Some(Limit::Slots));
    gate.release();
    assert_eq!((gate.waiting_for(1, now), gate.in_flight()), (None, 1));
    assert!(gate.admit(1, now));
}

#[test]
fn a_hold_off_stops_everything_and_is_not_shortened() {
    let now = start();
    let mut gate = Gate::new(&limits(None, None, 8), 1000, now);
    gate.hold_off(now + ms(500));
    gate.hold_off(now + ms(200));
    assert!(!gate.admit(1, now + ms(499)));
    assert_eq!(gate.waiting_for(1, now), Some(Limit::HoldOff));
    assert_eq!(gate.ready_at(1, now), Ready::At(now + ms(500)));
    assert!(gate.admit(1, now + ms(500)));
}

#[test]
fn what_the_provider_asked_for_is_held_though_it_is_found_to_work() {
    let now = start();
    let mut gate = Gate::new(&limits(None, None, 8), 1000, now);
    gate.hold_off_as_asked(now + ms(200));
    gate.hold_off(now + ms(500));
    assert_eq!((gate.held(now), gate.held_as_asked(now)), (Some(now + ms(500)), Some(now + ms(200))));
    gate.end_hold_off();
    assert_eq!(gate.held(now), Some(now + ms(200)));
    assert!(!gate.admit(1, now + ms(199)) && gate.admit(1, now + ms(200)));
    gate.hold_off(now + ms(900));
    gate.end_hold_off();
    assert!(gate.admit(1, now + ms(300)), "one of our own ends at once");
}

#[test]
fn one_overload_takes_slots_once_and_successes_give_them_back() {
    let now = start();
    let mut gate = Gate::new(&limits(None, None, 16), 1000, now);
    for _ in 0..16 {
        assert!(gate.admit(1, now));
    }
    for _ in 0..16 {
        gate.release();
        gate.hold_off(now);
    }
    assert_eq!(gate.slots(), 12, "sixteen failures of one moment are one overload");
    for _ in 0..100 {
        assert!(gate.admit(1, now));
        gate.release();
        gate.hold_off(now);
    }
    assert_eq!(gate.slots(), 1, "never less than one");
    let mut successes = 0;
    while gate.slots() < 16 {
        gate.succeeded();
        successes += 1;
    }
    assert!(successes <= 80, "{successes}");
    gate.succeeded();
    assert_eq!(gate.slots(), 16, "never more than the settings say");
}

#[test]
fn refusals_of_a_few_percent_hardly_cost_slots() {
    let mut gate = Gate::new(&limits(None, None, 16), 1000, start());
    let (mut sum, rng) = (0, &mut fastrand::Rng::with_seed(7));
    for _ in 0..20_000 {
        if rng.f64() < 0.033 {
            gate.hold_off(start());
        } else {
            gate.succeeded();
        }
        sum += gate.slots();
    }
    assert!(sum / 20_000 >= 13, "{}", sum / 20_000);
}

#[test]
fn a_share_divides_rates_and_slots_but_no_burst_and_keeps_what_is_owed() {
    let now = start();
    let mut gate = Gate::new(&limits(rate(600, MINUTE), rate(60_000, MINUTE), 10), 8000, now);
    gate.settle(0, Some(500));
    gate.set_share(1.0 / 3.0, now + MINUTE);
    assert_eq!((gate.slots(), gate.owed()), (3, 500));
    let origin = now + MINUTE;
    assert!(!gate.admit(1, origin), "drained");
    // 1000/3 tokens a second, and a whole burst after a rest.
    assert!(!gate.admit(7000, origin + Duration::from_secs(22)));
    let rested = origin + MINUTE;
    assert!(gate.admit(7500, rested), "7500 and 500 owed: one burst");
    assert_eq!(gate.owed(), 0);
    assert!(!gate.admit(300, rested + ms(800)));
    assert!(gate.admit(300, rested + ms(1000)));
    gate.set_share(0.001, rested);
    assert_eq!(gate.slots(), 1);
}

#[test]
fn the_same_share_or_none_changes_nothing() {
    let now = start();
    let mut gate = Gate::new(&limits(None, rate(60_000, MINUTE), 10), 8000, now);
    let rested = now + MINUTE;
    for share in [1.0, 2.0, 0.0, -1.0, f64::NAN, f64::INFINITY] {
        gate.set_share(share, rested);
        assert_eq!(gate.slots(), 10);
    }
    assert!(gate.admit(8000, rested), "not drained");
}

#[test]
fn what_exceeds_a_burst_is_paid_in_pieces() {
    let now = start();
    // 1000 tokens a second, bursts of 1000.
    let mut gate = Gate::new(&limits(None, rate(60_000, MINUTE), 4), 1000, now);
    gate.settle(0, Some(3000));
    let admitted = drive(&mut gate, now, Duration::from_secs(10), ms(1), || (1000, None));
    assert_eq!(admitted[0].0.as_millis(), 4000, "3000 owed and 1000 to send");
    assert_eq!(admitted[1].0.as_millis(), 5000);
    // A call beyond the burst waits for all of its tokens, and does not hang.
    let mut gate = Gate::new(&limits(None, rate(60_000, MINUTE), 4), 1000, now);
    let admitted = drive(&mut gate, now, Duration::from_secs(10), ms(1), || (2500, None));
    assert_eq!(admitted.iter().map(|(at, _)| at.as_millis()).collect::<Vec<_>>(), [2500, 5000, 7500]);
}

#[test]
fn credit_is_at_most_one_burst_and_debt_is_bounded() {
    let now = start();
    let mut gate = Gate::new(&limits(None, rate(60_000, MINUTE), 4), 1000, now);
    for _ in 0..10 {
        gate.settle(1000, Some(1));
    }
    assert_eq!(gate.owed(), -1000);
    assert!(gate.admit(1000, now), "paid by the credit");
    assert!(!gate.admit(1, now));
    gate.settle(1, Some(u64::MAX));
    gate.settle(1, Some(u64::MAX));
    assert_eq!(gate.owed(), 16_000, "absurd usage stops nobody for ever");
    assert!(drive(&mut gate, now, Duration::from_secs(20), ms(1), || (1000, None)).len() >= 3);
}

#[test]
fn extreme_rates_neither_overflow_nor_stop() {
    let now = start();
    let day = Duration::from_secs(86_400);
    for (amount, period) in [
        (1, day),
        (u64::MAX, Duration::from_nanos(1)),
        (u64::MAX, day),
        (0, Duration::ZERO),
        (1, Duration::MAX),
        (7_000_000_000, MINUTE),
    ] {
        let mut gate = Gate::new(&limits(rate(amount, period), rate(amount, period), 4), u64::MAX, now);
        for tokens in [0, 1, 32_768, u64::MAX] {
            assert!(matches!(gate.ready_at(tokens, now), Ready::At(_) | Ready::Now));
            for at in [now, now + day] {
                if gate.admit(tokens, at) {
                    gate.release();
                }
            }
        }
        gate.set_share(1e-12, now + day);
        gate.admit(1, now + day * 2);
    }
}

#[test]
fn fast_rates_are_exact_to_a_hundredth_of_a_percent() {
    for per_minute in [7_000_000, 100_000_000, 5_000_000_000_u64] {
        let now = start();
        let mut gate = Gate::new(&limits(None, rate(per_minute, MINUTE), 1000), 32_768, now);
        let span = Duration::from_secs(3);
        let sum: u64 = drive(&mut gate, now, span, ms(1), || (30_011, None)).iter().map(|(_, n)| n).sum();
        let could = per_minute as f64 * span.as_secs_f64() / 60.0;
        assert!(sum as f64 <= could, "{per_minute}: {sum} of {could}");
        // What is being saved up for the next batch at the end is not unused.
        assert!((sum + 30_011) as f64 >= 0.9998 * could, "{per_minute}: {sum} of {could}");
    }
}

proptest! {
    #[test]
    fn no_window_holds_more_than_the_burst_and_the_rate(
        per_minute in 6_000_u64..6_000_000,
        batch in 100_u64..20_000,
        sizes in proptest::collection::vec(1_u64..=100, 1..20),
        latency in 1_u64..3000,
        slots in 1_usize..64,
        window in 1_u64..20_000,
    ) {
        let now = start();
        let mut gate = Gate::new(&limits(None, rate(per_minute, MINUTE), slots), batch, now);
        let mut next = sizes.iter().cycle().map(|percent| ((batch * percent / 100).max(1), None));
        let admitted =
            drive(&mut gate, now, Duration::from_secs(30), ms(latency), || next.next().unwrap());
        let burst = batch.max(per_minute.div_ceil(60));
        // One unit of rounding of the limiter is at most a ten-thousandth of a second of the rate.
        let allowed = burst as f64 + per_minute as f64 / 60.0 * (window as f64 / 1000.0) + 2.0;
        let most = most_in_any_window(&admitted, ms(window));
        prop_assert!(most as f64 <= allowed, "{most} > {allowed}");
    }

    #[test]
    fn a_backlog_uses_the_rate(
        per_minute in 60_000_u64..60_000_000,
        percents in proptest::collection::vec(1_u64..=100, 1..20),
    ) {
        let now = start();
        let batch = 32_768.min(per_minute);
        let mut gate = Gate::new(&limits(None, rate(per_minute, MINUTE), 10_000), batch, now);
        let mut next = percents.iter().cycle().map(|percent| (batch * percent / 100, None));
        let span = Duration::from_secs(200) + Duration::from_secs(batch * 6000 / per_minute);
        let admitted = drive(&mut gate, now, span, ms(100), || next.next().unwrap());
        let sum: u64 = admitted.iter().map(|(_, tokens)| tokens).sum();
        let could = per_minute as f64 / 60.0 * span.as_secs_f64();
        // What is being saved up for the next batch at the end is not unused.
        prop_assert!((sum + batch) as f64 >= 0.99 * could, "{sum} of {could}");
        prop_assert!(sum as f64 <= could, "{sum} of {could}");
    }

    #[test]
    fn settled_usage_keeps_the_long_run_rate(
        per_minute in 60_000_u64..6_000_000,
        factors in proptest::collection::vec(0.3_f64..3.0, 1..10),
    ) {
        let now = start();
        let batch = 10_000;
        let mut gate = Gate::new(&limits(None, rate(per_minute, MINUTE), 64), batch, now);
        let billed = std::cell::RefCell::new(Vec::new());
        let mut next = factors.iter().cycle();
        let span = Duration::from_secs(600);
        drive(&mut gate, now, span, ms(100), || {
            let usage = (batch as f64 * next.next().unwrap()) as u64;
            billed.borrow_mut().push(usage);
            (batch, Some(usage))
        });
        let billed = billed.into_inner();
        // The last one drawn was not admitted.
        let sum: u64 = billed[..billed.len() - 1].iter().sum();
        let could = per_minute as f64 / 60.0 * span.as_secs_f64();
        let burst = batch.max(per_minute.div_ceil(60)) as f64;
        // What may be outstanding: the credit, a bucket, and the calls of the last 100 ms.
        let slack = burst * 2.0 + 3.0 * (batch as f64 + per_minute as f64 / 600.0);
        prop_assert!(sum as f64 <= could + slack, "{sum} of {could}");
        prop_assert!(sum as f64 >= 0.97 * could - slack, "{sum} of {could}");
    }
}

#[test]
fn a_call_that_did_not_wait_is_paid_by_those_after_it() {
    let origin = start();
    let mut gate = Gate::new(&limits(rate(60, MINUTE), rate(60, MINUTE), 4), 1, origin);
    gate.passed(2);
    let first = (0..).map(|at| origin + ms(at * 100)).find(|now| gate.admit(1, *now)).unwrap();
    assert!((ms(2_900)..=ms(3_100)).contains(&(first - origin)), "{:?}", first - origin);
    let mut gate = Gate::new(&limits(rate(60, MINUTE), None, 4), 1, origin);
    gate.passed(2);
    let first = (0..).map(|at| origin + ms(at * 100)).find(|now| gate.admit(1, *now)).unwrap();
    assert!((ms(1_900)..=ms(2_100)).contains(&(first - origin)), "{:?}", first - origin);
}
