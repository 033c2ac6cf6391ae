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

/// What a firewall's page means, or a text that is quoted back in an error.
pub(super) fn forbidden() -> Verdict {
    Verdict::Suspend { why: SuspendReason::Forbidden, fatal_at_start: true }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_answered_like_a_wrong_setting_is_found_even_in_the_first_batch() {
    for records in [1, 2, 64] {
        let line = Line::start(forbidden(), 64);
        line.assign(1);
        let text = |offset| if offset == records / 2 { "poison" } else { "fine" };
        line.receive(&(0..records).map(|offset| (1, offset, text(offset))).collect::<Vec<_>>());
        pass(Duration::from_secs(180)).await;
        let outcomes = (i64::try_from(line.sent()).unwrap(), line.dead_letters(), line.reason());
        assert_eq!(outcomes, (records, 1, None), "a batch of {records}");
        assert!(!line.running.is_finished());
        assert!(line.calls_with("poison") >= 6, "it is no dead letter at once");
        line.running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_to_everybody_suspends_and_at_the_start_stops() {
    let line = Line::start(forbidden(), 4);
    line.assign(1);
    line.receive(&[(1, 0, "first")]);
    pass(LATENCY * 2).await;
    line.provider.takes.store(0, Ordering::Relaxed);
    line.receive(&(1..40).map(|offset| (1, offset, "text")).collect::<Vec<_>>());
    pass(LATENCY * 4).await;
    assert_eq!(line.reason(), Some("forbidden"));
    pass(Duration::from_secs(60)).await;
    line.provider.takes.store(usize::MAX, Ordering::Relaxed);
    pass(Duration::from_secs(15)).await;
    assert_eq!((line.reason(), line.sent(), line.dead_letters()), (None, 40, 0));

    let line = Line::start(forbidden(), 4);
    line.assign(1);
    line.provider.takes.store(0, Ordering::Relaxed);
    line.receive(&[(1, 0, "text")]);
    pass(LATENCY * 4).await;
    line.events.send(Event::Closed { committed: true }).unwrap();
    assert!(matches!(line.running.await.unwrap(), Ended::Misconfigured(SuspendReason::Forbidden, _)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_settled_soon_where_nothing_else_is_tried() {
    let line = Line::start(again(false, Attempts::Few(3), SuspendReason::MalformedResponse), 64);
    line.assign(1);
    let text = |offset| if offset == 37 { "poison" } else { "fine" };
    line.receive(&(0..64).map(|offset| (1, offset, text(offset))).collect::<Vec<_>>());
    let mut seconds = 0;
    while line.sent() < 64 && seconds < 600 {
        pass(LATENCY).await;
        seconds += 1;
    }
    assert_eq!((line.sent(), line.dead_letters(), line.reason()), (64, 1, None));
    assert!(seconds <= 90, "{seconds} s, a call taking one");
    let words = line.calls_with("ping");
    assert!(words <= 30, "{words} canaries");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_refused_at_the_door_keeps_nobody_else_waiting() {
    let overloaded = again(true, Attempts::Unlimited, SuspendReason::Unreachable);
    let (line, calls) = calls_until_decided(overloaded, "poison").await;
    pass(LATENCY * 60).await;
    assert_eq!((line.sent(), line.dead_letters()), (600 * 64, 1));
    assert!(calls >= 12 + 6, "{calls} calls are not patient");
    let overloaded = again(true, Attempts::Unlimited, SuspendReason::Unreachable);
    let (line, calls) = calls_until_decided(overloaded, "unlucky").await;
    assert_eq!((line.dead_letters(), calls), (0, UNLUCKY + 1));
}

#[tokio::test(start_paused = true)]
async fn one_record_that_is_told_its_key_is_wrong_does_not_stop_the_start() {
    let why = SuspendReason::Unauthorized;
    let line = Line::start(Verdict::Suspend { why, fatal_at_start: true }, 64);
    line.assign(1);
    line.receive(&[(1, 0, "fine"), (1, 1, "poison"), (1, 2, "fine")]);
    pass(Duration::from_secs(120)).await;
    assert_eq!((line.sent(), line.dead_letters(), line.running.is_finished()), (3, 1, false));
}

#[tokio::test(start_paused = true)]
async fn an_account_with_a_cent_left_is_asked_ever_more_rarely() {
    let why = SuspendReason::PaymentRequired;
    let line = Line::start(Verdict::Suspend { why, fatal_at_start: false }, 1);
    line.assign(1);
    line.receive(&[(1, 0, "poison")]);
    pass(Duration::from_secs(300)).await;
    let calls = line.provider.calls.lock().unwrap().len();
    assert!((40..=90).contains(&calls), "{calls} calls in 300 s");
    assert_eq!(line.dead_letters(), 0);
}

#[tokio::test(start_paused = true)]
async fn access_that_is_refused_for_a_while_costs_no_record_though_probes_get_through() {
    let line = Line::start(forbidden(), 1);
    line.assign(1);
    line.receive(&[(1, 0, "unlucky"), (1, 1, "fine")]);
    for offset in 2..60 {
        line.receive(&[(1, offset, "fine")]);
        pass(LATENCY / 2).await;
    }
    // It has been refused more than six times in half a minute, and is not a dead letter yet.
    assert_eq!(line.dead_letters(), 0);
    let words = line.calls_with("ping");
    assert!(words <= 30, "{words} canaries in half a minute");
}
