//! Limits that the provider states.

use super::*;

fn stated(requests: Option<u64>, tokens: Option<u64>) -> Stated {
    Stated { requests, tokens }
}

/// Calls of 100 tokens that one minute lets through, from the second on.
fn in_a_minute(gate: &mut Gate, now: Instant) -> u64 {
    let calls = drive(gate, now, MINUTE * 2, ms(10), || (100, None));
    calls.iter().filter(|(at, _)| *at >= MINUTE).count() as u64
}

#[test]
fn what_is_stated_is_obeyed_only_if_the_settings_say_so() {
    let now = start();
    let limits = limits(None, rate(60_000, MINUTE), 16);
    for (follow, calls) in [(true, 300), (false, 600)] {
        let mut gate = Gate::new(&limits, 1000, now);
        assert!(gate.stated(stated(None, Some(30_000)), follow, now), "it is news");
        assert!(!gate.stated(stated(None, Some(30_000)), follow, now), "it is none a second time");
        assert!(in_a_minute(&mut gate, now).abs_diff(calls) <= 2, "{follow}");
    }
}

#[test]
fn the_lesser_of_what_is_configured_and_what_is_stated_holds() {
    let now = start();
    let mut gate = Gate::new(&limits(rate(2, Duration::from_secs(1)), None, 16), 1000, now);
    assert!(gate.stated(stated(Some(100_000), Some(1_000_000)), true, now));
    assert!(in_a_minute(&mut gate, now).abs_diff(120) <= 1, "2 a second are less than 100,000 a minute");
    let now = now + MINUTE * 2;
    assert!(gate.stated(stated(Some(60), None), true, now), "it fell");
    assert!(in_a_minute(&mut gate, now).abs_diff(60) <= 1);
    let now = now + MINUTE * 2;
    assert!(gate.stated(stated(Some(1_000), None), true, now), "it came back");
    assert!(in_a_minute(&mut gate, now).abs_diff(120) <= 1, "not above the settings");
}

#[test]
fn a_share_of_what_is_stated_is_taken() {
    let now = start();
    let mut gate = Gate::new(&limits(None, None, 16), 1000, now);
    gate.set_share(0.5, now);
    assert!(gate.stated(stated(None, Some(60_000)), true, now));
    assert!(in_a_minute(&mut gate, now).abs_diff(300) <= 2);
    gate.set_share(1.0, now + MINUTE * 2);
    assert!(in_a_minute(&mut gate, now + MINUTE * 2).abs_diff(600) <= 2);
}

#[test]
fn less_than_a_batch_a_minute_is_not_obeyed_to_the_letter() {
    let now = start();
    let mut gate = Gate::new(&limits(None, None, 16), 1000, now);
    assert!(gate.stated(stated(None, Some(1)), true, now));
    let calls = drive(&mut gate, now, MINUTE * 10, ms(10), || (100, None)).len();
    assert!((9..=11).contains(&calls), "{calls} calls of 100 tokens in ten minutes, one batch")
}
