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
