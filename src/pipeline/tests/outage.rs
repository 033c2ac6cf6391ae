//! What is told while nothing succeeds.

use super::*;
use crate::provider::Attempts;

/// What a provider takes that never answers.
const HANGS: usize = usize::MAX - 1;
/// What a provider takes that answers all but a harmless word only after [`LONG`].
const SLOW: usize = usize::MAX - 2;
const LONG: Duration = Duration::from_secs(45);

/// What a provider takes that refuses every connection.
const REFUSES: usize = usize::MAX - 3;

/// What a provider takes that answers one call after another, all but a harmless word [`LONG`] after the one before, and
/// works on for callers that have gone away.
const IN_TURN: usize = usize::MAX - 4;

/// Waits as long as this provider needs for its answer.
pub(super) async fn latency(provider: &Provider, body: &[u8]) -> Result<(), Failure> {
    let takes = provider.takes.load(Ordering::Relaxed);
    if takes == REFUSES {
        return Err(crate::provider::triage::lost(crate::provider::triage::Lost::Connection));
    }
    if takes == HANGS {
        std::future::pending::<()>().await;
    }
    let latency = if matches!(takes, SLOW | IN_TURN) && body != b"ping" { LONG } else { LATENCY };
    let mut done = tokio::time::Instant::now() + latency;
    if takes == IN_TURN {
        let mut free = provider.free.lock().unwrap();
        done = free.map_or(done, |free| done.max(free + latency));
        *free = Some(done);
    }
    tokio::time::sleep_until(done).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_that_lasts_is_told_and_its_hint_is_obeyed() {
    let line = Line::start(
        Verdict::Retry {
            after: Some(Duration::from_secs(20)),
            hold_off: true,
            attempts: Attempts::Unlimited,
            then: RejectReason::ProviderError,
            meanwhile: SuspendReason::Unreachable,
        },
        64,
    );
    line.assign(1);
    line.receive(&[(1, 0, "poison")]);
    pass(Duration::from_secs(25)).await;
    assert_eq!(line.reason(), None, "it may pass");
    pass(Duration::from_secs(10)).await;
    assert_eq!(line.reason(), Some("unreachable"));
    let calls =
        |line: &Line| line.provider.calls.lock().unwrap().iter().filter(|call| *call == "ping").count();
    assert_eq!(calls(&line), 0, "the provider said when to ask again");
    pass(Duration::from_secs(15)).await;
    assert_eq!((calls(&line), line.reason()), (1, None), "a harmless word succeeds: it goes on");
    assert_eq!(line.dead_letters(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_topic_of_bad_records_is_not_dead_lettered_whole() {
    let line = Line::start(clear(RejectReason::Rejected), 1);
    line.assign(1);
    let records: Vec<_> = (0..200).map(|offset| (1, offset, "poison")).collect();
    line.receive(&records);
    let mut told = 0;
    for _ in 0..55 {
        pass(Duration::from_secs(1)).await;
        told += usize::from(line.reason() == Some("dead_letter_rate"));
    }
    let letters = line.dead_letters();
    assert!((10..=20).contains(&letters), "{letters} in less than the cap's window");
    assert!(told >= 20, "ready in {} of 55 s", 55 - told);
    let calls = line.provider.calls.lock().unwrap().len();
    assert!(calls <= 1_000, "{calls} calls: it does not wait");
    pass(Duration::from_secs(600)).await;
    assert!(line.dead_letters() > letters, "it goes on, at that rate");
}

fn unclear() -> Verdict {
    Verdict::Bisect { reason: RejectReason::Rejected, clear: false, otherwise: SuspendReason::BadRequest }
}

#[tokio::test(start_paused = true)]
async fn no_word_from_before_an_outage_makes_a_record_bad() {
    let line = Line::start(unclear(), 1);
    line.assign(1);
    line.receive(&[(1, 0, "poison")]);
    pass(LATENCY * 8).await;
    assert_eq!((line.calls_with("ping"), line.dead_letters()), (3, 1), "a harmless word got through");
    line.receive(&[(1, 1, "fine"), (1, 2, "fine too")]);
    pass(LATENCY / 2).await;
    line.receive(&[(1, 3, "good")]);
    pass(LATENCY * 6 / 10).await;
    line.provider.takes.store(0, Ordering::Relaxed);
    pass(LATENCY * 10).await;
    assert_eq!((line.dead_letters(), line.reason()), (1, Some("bad_request")));
    line.provider.takes.store(usize::MAX, Ordering::Relaxed);
    pass(Duration::from_secs(120)).await;
    assert_eq!((line.dead_letters(), line.reason()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn no_words_of_an_outage_make_a_record_bad_however_clear() {
    let line = Line::start(clear(RejectReason::TooLarge), 4);
    line.assign(1);
    line.receive(&[(1, 0, "fine")]);
    pass(LATENCY * 2).await;
    line.provider.takes.store(0, Ordering::Relaxed);
    line.receive(&(1..30).map(|offset| (1, offset, "fine")).collect::<Vec<_>>());
    pass(LATENCY * 10).await;
    assert_eq!((line.dead_letters(), line.reason()), (0, Some("bad_request")));
    line.provider.takes.store(usize::MAX, Ordering::Relaxed);
    pass(Duration::from_secs(60)).await;
    assert_eq!((line.dead_letters(), line.reason(), line.sent()), (0, None, 30));
}

#[tokio::test(start_paused = true)]
async fn a_blip_that_ends_before_its_answer_comes_condemns_nobody() {
    let verdicts = [clear(RejectReason::TooLarge), search::forbidden()];
    for (size, verdict) in verdicts.iter().flat_map(|verdict| [(1, verdict), (4, verdict)]) {
        let line = Line::start(verdict.clone(), size);
        line.assign(1);
        for second in 0..200 {
            line.receive(&[(1, second * 2, "fine"), (1, second * 2 + 1, "fine")]);
            // Whatever is answered in this moment is refused, and nothing else.
            line.provider.takes.store(if second % 5 == 4 { 0 } else { usize::MAX }, Ordering::Relaxed);
            pass(Duration::from_millis(80)).await;
            line.provider.takes.store(usize::MAX, Ordering::Relaxed);
            pass(Duration::from_millis(920)).await;
        }
        pass(LATENCY * 20).await;
        assert_eq!((line.sent(), line.dead_letters()), (400, 0), "batches of {size}, {verdict:?}");
        assert!(line.provider.calls.lock().unwrap().len() > 200 * 2 / size, "some were refused");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_at_which_all_is_refused_condemns_nobody() {
    let line = Line::start(clear(RejectReason::TooLarge), 1);
    line.assign(1);
    line.provider.takes.store(0, Ordering::Relaxed);
    line.receive(&[(1, 0, "fine"), (1, 1, "fine")]);
    pass(LATENCY * 10).await;
    assert_eq!((line.dead_letters(), line.sent()), (0, 0));
    line.events.send(Event::Closed { committed: true }).unwrap();
    assert!(matches!(line.running.await.unwrap(), Ended::Misconfigured(SuspendReason::BadRequest, _)));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_always_rate_limited_slows_itself_alone() {
    let limited = Verdict::Retry {
        after: None,
        hold_off: true,
        attempts: Attempts::Unlimited,
        then: RejectReason::ProviderError,
        meanwhile: SuspendReason::Unreachable,
    };
    let line = Line::start(limited, 1);
    line.assign(1);
    line.receive(&[(1, 0, "poison")]);
    for offset in 1..=300 {
        line.receive(&[(1, offset, "fine")]);
        pass(LATENCY).await;
    }
    pass(LATENCY * 3).await;
    assert!(line.sent() >= 298, "{} of 300 in 303 s", line.sent());
}

#[tokio::test(start_paused = true)]
async fn two_bad_records_are_found_wherever_they_lie_with_at_most_one_canary_for_the_dearest() {
    let mut most = 0;
    for one in 0..64 {
        for other in one + 1..64 {
            let line = Line::start(unclear(), 64);
            line.assign(1);
            let text = |offset| if offset == one || offset == other { "poison" } else { "fine" };
            let records: Vec<_> = (0..64).map(|offset| (1, offset, text(offset))).collect();
            line.receive(&records);
            pass(LATENCY * 20).await;
            let calls = line.provider.calls.lock().unwrap().len();
            most = most.max(calls - 1);
            let found: Vec<_> = line.sent.lock().unwrap().iter().map(dead_letter_offset).collect();
            assert_eq!(found.len(), 64, "{one} and {other}: 62 are published, 2 are dead letters");
            let found: Vec<_> = found.into_iter().flatten().collect();
            assert_eq!(found.len(), 2);
            assert!(found.contains(&one) && found.contains(&other), "{one} and {other}: {found:?}");
            line.running.abort();
        }
    }
    assert!(most <= 17, "{most} calls beyond the first");
}

/// The offset of what became a dead letter.
fn dead_letter_offset((outgoing, _): &(Outgoing, Publication)) -> Option<i64> {
    let is_letter = outgoing.destination == Destination::DeadLetter;
    let key = outgoing.key.as_ref().filter(|_| is_letter)?;
    std::str::from_utf8(key).ok()?.parse().ok()
}

#[tokio::test(start_paused = true)]
async fn a_page_of_html_for_everybody_suspends_at_once() {
    let line = Line::start(
        Verdict::Retry {
            after: None,
            hold_off: false,
            attempts: Attempts::Few(3),
            then: RejectReason::MalformedResponse,
            meanwhile: SuspendReason::MalformedResponse,
        },
        1,
    );
    line.provider.takes.store(0, Ordering::Relaxed);
    line.assign(1);
    let records: Vec<_> = (0..50).map(|offset| (1, offset, "text")).collect();
    line.receive(&records);
    pass(Duration::from_secs(5)).await;
    assert_eq!(line.reason(), Some("malformed_response"));
    let calls = line.provider.calls.lock().unwrap().len();
    assert!(calls <= 200, "{calls} calls in 5 s");
    line.provider.takes.store(usize::MAX, Ordering::Relaxed);
    pass(Duration::from_secs(12)).await;
    assert_eq!((line.reason(), line.dead_letters()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn calls_that_hang_since_an_outage_are_sent_again() {
    let line = Line::start(unclear(), 1);
    line.assign(1);
    line.receive(&[(1, 0, "first")]);
    pass(Duration::from_secs(1)).await;
    line.provider.takes.store(HANGS, Ordering::Relaxed);
    let records: Vec<_> = (1..50).map(|offset| (1, offset, "text")).collect();
    line.receive(&records);
    pass(Duration::from_secs(60)).await;
    assert_eq!(line.reason(), Some("timeout"));
    line.provider.takes.store(usize::MAX, Ordering::Relaxed);
    pass(Duration::from_secs(15)).await;
    assert_eq!((line.reason(), line.dead_letters()), (None, 0));
    assert_eq!(line.sent.lock().unwrap().len(), 50, "the hanging ones were not waited for");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_too_slow_gets_fewer_calls_at_a_time_and_more_again_later() {
    let line = Line::start(again(false, Attempts::Configured, SuspendReason::Timeout), 1);
    let slots = || line.metrics.api_concurrency_limit.with_label_values(&["model"]).get();
    line.assign(1);
    line.receive(&[(1, 0, "fine")]);
    pass(LATENCY * 2).await;
    let most = slots();
    line.provider.takes.store(0, Ordering::Relaxed);
    line.receive(&[(1, 1, "fine")]);
    pass(LATENCY * 5).await;
    assert!(slots() < most, "{} of {most}", slots());
    line.provider.takes.store(usize::MAX, Ordering::Relaxed);
    for offset in 2..100 {
        line.receive(&[(1, offset, "fine")]);
        pass(LATENCY).await;
    }
    assert_eq!(slots(), most);
}

#[tokio::test(start_paused = true)]
async fn back_off_of_our_own_does_not_make_a_probe_late() {
    let overloaded = again(true, Attempts::Configured, SuspendReason::Unreachable);
    // Each number of records makes other draws of the jitter.
    for records in 1..25 {
        let line = Line::start(overloaded.clone(), 1);
        line.assign(1);
        line.receive(&[(1, 0, "first")]);
        pass(LATENCY * 2).await;
        line.provider.takes.store(0, Ordering::Relaxed);
        line.receive(&(1..=records).map(|offset| (1, offset, "text")).collect::<Vec<_>>());
        pass(Duration::from_secs(32)).await;
        assert_eq!(line.reason(), Some("unreachable"), "{records} records");
        line.provider.takes.store(usize::MAX, Ordering::Relaxed);
        pass(Duration::from_secs(15)).await;
        let sent = i64::try_from(line.sent()).unwrap();
        assert_eq!((line.reason(), sent), (None, records + 1), "{records} records");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_a_short_outage_left_hanging_are_sent_again() {
    let line = Line::start(unclear(), 1);
    line.assign(1);
    line.receive(&[(1, 0, "first")]);
    pass(LATENCY * 2).await;
    line.provider.takes.store(HANGS, Ordering::Relaxed);
    line.receive(&(1..50).map(|offset| (1, offset, "text")).collect::<Vec<_>>());
    pass(Duration::from_secs(10)).await;
    // It heals before it is told; all slots are taken by calls that nobody will answer.
    line.provider.takes.store(usize::MAX, Ordering::Relaxed);
    pass(Duration::from_secs(35)).await;
    assert_eq!((line.reason(), line.sent(), line.dead_letters()), (None, 50, 0));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_grows_slow_is_not_paid_more_than_once_in_vain() {
    let line = Line::start(unclear(), 1);
    line.assign(1);
    line.receive(&[(1, 0, "first")]);
    pass(LATENCY * 2).await;
    line.provider.takes.store(SLOW, Ordering::Relaxed);
    line.receive(&(1..40).map(|offset| (1, offset, "text")).collect::<Vec<_>>());
    pass(LONG * 8).await;
    assert_eq!((line.reason(), line.sent(), line.dead_letters()), (None, 40, 0));
    let calls = line.calls_with("text");
    assert!(calls <= 39 + 16, "{calls} calls for 39 texts, 16 at a time");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_slow_from_the_beginning_is_paid_once() {
    let line = Line::start(unclear(), 1);
    line.assign(1);
    line.provider.takes.store(SLOW, Ordering::Relaxed);
    line.receive(&(0..40).map(|offset| (1, offset, "text")).collect::<Vec<_>>());
    pass(LONG * 8).await;
    assert_eq!((line.reason(), line.sent(), line.calls_with("text")), (None, 40, 40));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_answers_one_by_one_is_asked_once_and_ready_from_its_first_answer_on() {
    let line = Line::start(unclear(), 1);
    line.assign(1);
    line.provider.takes.store(IN_TURN, Ordering::Relaxed);
    line.receive(&(0..16).map(|offset| (1, offset, "text")).collect::<Vec<_>>());
    let (mut unready, mut seconds) = (0, 0);
    while line.sent() < 16 && seconds < 3_600 {
        pass(Duration::from_secs(1)).await;
        seconds += 1;
        unready += usize::from(line.reason().is_some());
    }
    assert_eq!((line.sent(), line.calls_with("text"), line.dead_letters()), (16, 16, 0), "after {seconds} s");
    assert!(unready <= seconds / 2, "unready for {unready} of {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_met_with_fewer_calls_and_its_end_with_full_batches() {
    let line = Line::start(unclear(), 64);
    line.assign(1);
    line.receive(&[(1, 0, "first")]);
    pass(LATENCY * 2).await;
    line.provider.takes.store(REFUSES, Ordering::Relaxed);
    for offset in 1..=560 {
        line.receive(&[(1, offset, "text")]);
        pass(Duration::from_millis(50)).await;
    }
    let calls = |line: &Line| line.provider.calls.lock().unwrap().len();
    let refused = calls(&line);
    assert!((20..=280).contains(&refused), "{refused} calls in 28 s; half as many as there were before");
    pass(Duration::from_secs(10)).await;
    assert_eq!(line.reason(), Some("unreachable"));
    let before = calls(&line);
    line.provider.takes.store(usize::MAX, Ordering::Relaxed);
    pass(Duration::from_secs(15)).await;
    assert_eq!((line.reason(), line.sent(), line.dead_letters()), (None, 561, 0));
    let healed = calls(&line) - before;
    assert!(healed <= 50, "{healed} calls for 560 records");
}
