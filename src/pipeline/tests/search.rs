//! The bad records of a batch, and records that only seem bad.

use super::*;

/// In so many calls a text fails, and then no more.
pub(super) const UNLUCKY: usize = 16;

#[tokio::test(start_paused = true)]
async fn one_retry_is_one_retry_before_a_record_is_found_guilty() {
    let line = Line::start(once_more(), 1);
    line.assign(1);
    // The first is answered while the poison is on its way, so its failure counts at once.
    line.receive(&[(1, 0, "fine"), (1, 1, "poison")]);
    pass(LATENCY + Duration::from_millis(100)).await;
    assert_eq!((line.calls_with("poison"), line.dead_letters()), (1, 0));
    // Nothing else is tried meanwhile: the canary has to vouch.
    pass(Duration::from_secs(60)).await;
    assert!(line.calls_with("poison") >= 2);
    assert!(line.calls_with("ping") >= 1);
    assert_eq!(line.dead_letters(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_search_goes_on_when_what_it_tries_is_given_up() {
    let line = Line::start(clear(RejectReason::Rejected), 2);
    line.assign(1);
    line.assign(2);
    line.receive(&[(1, 0, "poison"), (2, 0, "fine")]);
    pass(LATENCY + Duration::from_millis(500)).await;
    assert_eq!(line.provider.calls.lock().unwrap().as_slice(), ["poison,fine", "poison"]);
    line.lose(1);
    pass(LATENCY * 3).await;
    assert_eq!(line.sent(), 1, "the other half is published");
    line.answer(0, Ok(()));
    pass(LATENCY).await;
    let position = line.progress.borrow().first().and_then(|lane| lane.position);
    assert_eq!(position.map(|at| at.next()), Some(1));
}

/// A batch of 64 with this text in it, and good ones beside it: how many calls it is in until it has its outcome.
async fn calls_until_decided(verdict: Verdict, text: &str) -> (Line, usize) {
    let line = Line::start(verdict, 64);
    line.assign(1);
    let mut records: Vec<_> = (0..64).map(|offset| (1, offset, "fine")).collect();
    records[37].2 = text;
    line.receive(&records);
    for round in 1..600 {
        line.receive(&(0..64).map(|offset| (1, round * 64 + offset, "fine")).collect::<Vec<_>>());
        pass(LATENCY).await;
    }
    let calls = line.calls_with(text);
    (line, calls)
}

#[tokio::test(start_paused = true)]
async fn a_record_that_the_server_fails_on_costs_its_attempts_twice_and_a_search() {
    let (line, calls) =
        calls_until_decided(again(false, Attempts::Configured, SuspendReason::Unreachable), "poison").await;
    assert_eq!(line.dead_letters(), 1);
    assert!(calls <= 8 + 7 + 8, "{calls} calls");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_a_search_found_is_no_dead_letter_for_what_may_happen_to_any() {
    let (line, calls) =
        calls_until_decided(again(false, Attempts::Few(3), SuspendReason::Unreachable), "unlucky").await;
    assert_eq!((line.dead_letters(), calls), (0, UNLUCKY + 1));
    let (line, calls) =
        calls_until_decided(again(false, Attempts::Few(3), SuspendReason::Unreachable), "poison").await;
    assert_eq!(line.dead_letters(), 1);
    assert!(calls <= 4 + 7 + 4 + 5, "{calls} calls");
}

#[tokio::test(start_paused = true)]
async fn an_overload_takes_no_batch_apart_faster_than_its_attempts() {
    let overloaded = again(true, Attempts::Configured, SuspendReason::Unreachable);
    let (line, calls) = calls_until_decided(overloaded, "unlucky").await;
    assert_eq!((line.dead_letters(), calls), (0, UNLUCKY + 1));
    let lone = line.provider.calls.lock().unwrap().iter().filter(|call| *call == "unlucky").count();
    assert_eq!(lone, 0, "its half of the batch was taken");
}
