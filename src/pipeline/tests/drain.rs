//! What is finished before partitions are let go, and what is left.

use super::*;
use crate::provider::Attempts;

fn text(value: &str) -> Content {
    Content::Text(Text { text: value.to_owned(), tokens: 1, truncated: false, payload: None })
}

fn again() -> Verdict {
    Verdict::Retry {
        after: None,
        hold_off: false,
        attempts: Attempts::Few(1),
        then: RejectReason::ProviderError,
        meanwhile: SuspendReason::Unreachable,
    }
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_behind_a_text_that_was_not_sent_is_left_with_it() {
    let line = Line::start(again(), 64);
    line.assign(1);
    line.receive_contents([text("one"), Content::Tombstone]);
    let drained = line.let_go(1, LATENCY, true);
    pass(LATENCY / 2).await;
    assert_eq!(drained.try_recv().unwrap()[0].position, None);
    assert_eq!(line.sent(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_follows_as_soon_as_the_text_before_it_is_sent() {
    let line = Line::start(again(), 64);
    line.assign(1);
    line.receive_contents([Content::Tombstone, text("one"), Content::Tombstone, text("two")]);
    pass(LATENCY / 1_000).await;
    assert_eq!(line.sent(), 1, "nothing lies before the first");
    pass(LATENCY / 2).await;
    assert_eq!(line.sent(), 2, "the texts are on the wire");
    pass(LATENCY).await;
    assert_eq!(line.sent(), 4);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_tries_again_what_lies_before_paid_work() {
    let line = Line::start(again(), 1);
    line.assign(1);
    line.receive_contents([text("poison"), text("fine")]);
    pass(LATENCY + LATENCY / 10).await;
    line.answer(0, Ok(()));
    let drained = line.let_go(1, LATENCY * 100, true);
    pass(LATENCY * 20).await;
    assert_eq!((line.sent(), line.dead_letters()), (2, 1), "the poison was tried until it was judged");
    line.answer(1, Ok(()));
    pass(LATENCY).await;
    assert_eq!(drained.try_recv().unwrap()[0].position.unwrap().next(), 2, "both are settled");
}

#[tokio::test(start_paused = true)]
async fn who_rebalances_leaves_what_waits_for_another_attempt() {
    let line = Line::start(again(), 1);
    line.assign(1);
    line.receive_contents([text("poison"), text("fine")]);
    pass(LATENCY + LATENCY / 10).await;
    line.answer(0, Ok(()));
    let drained = line.let_go(1, LATENCY * 100, false);
    pass(LATENCY / 100).await;
    assert_eq!(drained.try_recv().unwrap()[0].position, None);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_drops_what_nothing_paid_waits_for() {
    let line = Line::start(again(), 1);
    line.assign(1);
    line.receive_contents([text("fine"), text("poison")]);
    pass(LATENCY + LATENCY / 10).await;
    line.answer(0, Ok(()));
    let drained = line.let_go(1, LATENCY * 100, true);
    pass(LATENCY / 100).await;
    assert_eq!(drained.try_recv().unwrap()[0].position.unwrap().next(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_was_cut_short_long_ago_does_not_make_the_last_one_so() {
    let line = Line::start(clear(RejectReason::Rejected), 64);
    line.assign(1);
    line.assign(2);
    line.receive(&[(1, 0, "one")]);
    pass(LATENCY / 2).await;
    let cut = line.revoke(1, LATENCY / 10);
    pass(LATENCY).await;
    assert_eq!(cut.try_recv().unwrap()[0].position, None);
    // A rebalance ends with an assignment, if an empty one.
    line.events.send(Event::Assigned(Vec::new())).unwrap();
    let drained = line.revoke(2, LATENCY);
    pass(LATENCY).await;
    assert!(drained.try_recv().is_ok());
    line.events.send(Event::Closed { committed: true }).unwrap();
    assert_eq!(line.running.await.unwrap(), Ended::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_its_part_of_a_search_that_tries_anothers_record() {
    let line = Line::start(clear(RejectReason::Rejected), 2);
    line.assign(1);
    line.assign(2);
    line.receive(&[(1, 0, "poison"), (2, 0, "fine")]);
    pass(LATENCY / 2).await;
    line.receive(&[(2, 1, "later"), (2, 2, "more")]);
    pass(LATENCY * 11 / 10).await;
    assert_eq!(line.sent(), 2, "paid for, behind what is being looked through");
    line.answer(0, Ok(()));
    line.answer(1, Ok(()));
    line.lose(1);
    let drained = line.let_go(2, LATENCY * 10, true);
    pass(LATENCY).await;
    assert!(drained.try_recv().is_err(), "it would leave two records to be repeated");
    pass(LATENCY).await;
    line.accept(2).await;
    let position = drained.try_recv().unwrap()[0].position;
    assert_eq!(position.map(|at| at.next()), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_leaves_something_to_be_repeated_says_so() {
    let later = Verdict::Retry {
        after: Some(Duration::from_secs(50)),
        hold_off: false,
        attempts: Attempts::Unlimited,
        then: RejectReason::ProviderError,
        meanwhile: SuspendReason::Unreachable,
    };
    let line = Line::start(later, 1);
    line.assign(1);
    line.receive(&[(1, 0, "poison"), (1, 1, "fine")]);
    pass(LATENCY * 2).await;
    line.answer(0, Ok(()));
    pass(LATENCY).await;
    let drained = line.let_go(1, LATENCY * 10, true);
    pass(LATENCY).await;
    assert_eq!(drained.try_recv().unwrap()[0].position, None, "no attempt is due in time");
    line.events.send(Event::Closed { committed: true }).unwrap();
    assert_eq!(line.running.await.unwrap(), Ended::CutShort);
}

#[tokio::test(start_paused = true)]
async fn a_worker_with_wrong_settings_does_not_wait_for_what_it_will_never_send() {
    let why = SuspendReason::Unreachable;
    let line = Line::start(Verdict::Suspend { why, fatal_at_start: true }, 1);
    line.assign(1);
    line.receive_contents([text("poison"), Content::Tombstone]);
    pass(LATENCY * 2).await;
    assert_eq!(line.sent(), 1, "the tombstone");
    line.answer(0, Ok(()));
    let drained = line.let_go(1, LATENCY * 100, true);
    pass(LATENCY).await;
    assert!(drained.try_recv().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_a_short_suspension_to_end() {
    let line =
        Line::start(Verdict::Suspend { why: SuspendReason::PaymentRequired, fatal_at_start: false }, 1);
    line.assign(1);
    line.receive(&[(1, 0, "one")]);
    pass(LATENCY / 2).await;
    line.receive(&[(1, 1, "two")]);
    line.provider.takes.store(0, Ordering::Relaxed);
    pass(LATENCY * 6 / 10).await;
    line.provider.takes.store(usize::MAX, Ordering::Relaxed);
    pass(LATENCY / 2).await;
    assert_eq!((line.reason(), line.sent()), (Some("payment_required"), 1), "the second is paid for");
    line.answer(0, Ok(()));
    let drained = line.let_go(1, LATENCY * 20, true);
    pass(LATENCY * 3).await;
    assert_eq!(line.sent(), 2, "the first was sent again once the canary was answered");
    line.answer(1, Ok(()));
    pass(LATENCY).await;
    assert_eq!(drained.try_recv().unwrap()[0].position.map(|at| at.next()), Some(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_last_is_told_at_the_end() {
    let line = Line::start(again(), 1);
    line.assign(1);
    line.receive(&[(1, 0, "fine")]);
    pass(LATENCY * 2).await;
    assert_eq!(line.sent(), 1);
    line.lose(1);
    line.events.send(Event::Closed { committed: true }).unwrap();
    assert_eq!(line.running.await.unwrap(), Ended::CutShort);
}
