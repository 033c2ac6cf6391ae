//! What is told while nothing succeeds.

use super::*;
use crate::provider::Attempts;

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
    pass(Duration::from_secs(55)).await;
    let letters = line.dead_letters();
    assert!((10..=20).contains(&letters), "{letters} in less than the cap's window");
    pass(Duration::from_secs(600)).await;
    assert!(line.dead_letters() > letters, "it goes on, at that rate");
}
