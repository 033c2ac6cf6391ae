//! What the integration tests stand on: brokers, records, the real binary, and the one way to wait.

pub(crate) mod broker;
pub(crate) mod http;
pub(crate) mod laws;
pub(crate) mod line;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod process;
mod raw;
pub(crate) mod records;
pub(crate) mod script;
pub(crate) mod server;
pub(crate) mod stream;

use std::time::Duration;

use tokio::time::Instant;

/// How often [`within`] looks again.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `look` until it answers, and returns its answer; `None` when there is none within `deadline`. The only place where
/// an integration test waits: what it waits for lives in another process or thread, so time cannot be paused.
pub(crate) fn within<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = look() {
            return Some(answer);
        }
        if start.elapsed() >= deadline {
            return None;
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Like [`within`], for what must come.
///
/// # Panics
/// When there is no answer within `deadline`; the message says `what` was awaited.
#[track_caller]
pub(crate) fn eventually<T>(deadline: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    match within(deadline, look) {
        Some(answer) => answer,
        None => panic!("not within {deadline:?}: {what}"),
    }
}

/// A name nobody else uses, not even a test on the same lasting broker yesterday: for topics, groups.
pub(crate) fn unique(label: &str) -> String {
    format!("{label}-{:016x}", fastrand::u64(..))
}

/// Makes two tests of each function `fn name(broker: &Broker)`: `name::mock` and `name::real`.
macro_rules! on_each_broker {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            #[test]
            fn mock() {
                super::$test(&$crate::support::broker::Broker::mock());
            }

            $crate::support::real!($test);
        }
    )+};
}
pub(crate) use on_each_broker;

/// Makes one test, `name::real`, of each function: for what the mock cluster cannot do.
macro_rules! on_a_real_broker {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            $crate::support::real!($test);
        }
    )+};
}
pub(crate) use on_a_real_broker;

/// The test on a real broker. It says `skipped` where none can be had, and fails there with `EMBEDSTREAM_REQUIRE_ALL=1`.
macro_rules! real {
    ($test:ident) => {
        #[test]
        fn real() {
            match $crate::support::broker::Broker::real() {
                Ok(broker) => super::$test(&broker),
                Err(skip) => skip.report(concat!(module_path!(), "::real")),
            }
        }
    };
}
pub(crate) use real;
