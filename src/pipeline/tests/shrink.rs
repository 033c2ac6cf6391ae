//! Batches that are too big for the provider.

use super::*;
use crate::provider::Cap;

fn too_big(told: Option<usize>) -> Verdict {
    Verdict::Shrink(Cap::Records(told))
}

fn records(from: i64, count: i64) -> Vec<(u64, i64, &'static str)> {
    (from..from + count).map(|offset| (1, offset, "fine")).collect()
}

fn limit(line: &Line) -> i64 {
    line.metrics.batch_limit.with_label_values(&["records"]).get()
}

fn calls_of(line: &Line, texts: usize) -> usize {
    line.provider.calls.lock().unwrap().iter().filter(|call| call.split(',').count() == texts).count()
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_not_told_is_found_and_tried_again_ever_more_rarely() {
    let line = Line::start(too_big(None), 64);
    line.assign(1);
    line.provider.takes.store(20, Ordering::Relaxed);
    line.receive(&records(0, 64));
    pass(LATENCY * 4).await;
    assert_eq!((line.sent(), limit(&line)), (64, 16));
    assert_eq!([64, 32, 16].map(|texts| calls_of(&line, texts)), [1, 2, 4]);
    for offset in 1..100 {
        line.receive(&records(offset * 64, 64));
        pass(Duration::from_secs(10)).await;
    }
    assert_eq!((line.sent(), line.dead_letters()), (6_400, 0));
    assert!(calls_of(&line, 32) <= 20, "{} in 1000 s", calls_of(&line, 32));
    line.provider.takes.store(usize::MAX, Ordering::Relaxed);
    pass(Duration::from_secs(3_600)).await;
    assert_eq!(limit(&line), 64);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_told_is_kept() {
    let line = Line::start(too_big(Some(20)), 64);
    line.assign(1);
    line.provider.takes.store(20, Ordering::Relaxed);
    line.receive(&records(0, 64));
    pass(LATENCY * 3).await;
    assert_eq!((line.sent(), limit(&line)), (64, 20));
    assert_eq!([64, 20, 4].map(|texts| calls_of(&line, texts)), [1, 3, 1]);
    pass(Duration::from_secs(3_600)).await;
    assert_eq!(limit(&line), 20);
}

#[tokio::test(start_paused = true)]
async fn a_second_of_refusals_teaches_nothing_that_lasts_and_condemns_nobody() {
    let line = Line::start(too_big(None), 64);
    line.assign(1);
    line.receive(&records(0, 64));
    pass(LATENCY * 2).await;
    line.provider.takes.store(0, Ordering::Relaxed);
    line.receive(&records(64, 64));
    pass(LATENCY * 14).await;
    assert_eq!((line.reason(), line.dead_letters()), (Some("bad_request"), 0));
    line.provider.takes.store(usize::MAX, Ordering::Relaxed);
    pass(Duration::from_secs(60)).await;
    assert_eq!((line.reason(), line.dead_letters(), line.sent()), (None, 0, 128));
    assert_eq!(limit(&line), 64);
}

#[tokio::test(start_paused = true)]
async fn one_record_that_is_too_big_alone_teaches_nothing_of_batches() {
    let line = Line::start(too_big(None), 64);
    line.assign(1);
    let text = |offset| if offset == 40 { "poison" } else { "fine" };
    line.receive(&(0..64).map(|offset| (1, offset, text(offset))).collect::<Vec<_>>());
    pass(LATENCY * 20).await;
    assert_eq!((line.sent(), line.dead_letters(), limit(&line)), (64, 1, 64));
}

#[tokio::test(start_paused = true)]
async fn what_a_text_tells_that_is_quoted_back_is_no_limit() {
    let line = Line::start(too_big(Some(2)), 64);
    line.assign(1);
    let text = |offset| if offset == 40 { "poison" } else { "fine" };
    line.receive(&(0..64).map(|offset| (1, offset, text(offset))).collect::<Vec<_>>());
    pass(LATENCY * 60).await;
    assert_eq!((line.sent(), line.dead_letters(), limit(&line)), (64, 1, 64));
}
