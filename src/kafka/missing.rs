//! An input topic that is not there any more: looked for until it is.
//!
//! The client reports it once. That it is back, or never was gone, shows in no event of it: a member without partitions learns nothing
//! of topics.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use tracing::{info, warn};

use super::event::Event;
use super::shared::{Client, Shared, now};

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(2);
/// How long a question may take.
const ASK: Duration = Duration::from_secs(5);
/// How often the end of the worker is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// Looks for all input topics, on a thread of its own, and tells whether one is missing. Does nothing while that goes on.
pub(super) fn look(shared: &Arc<Shared>) {
    if shared.looking.swap(true, Ordering::AcqRel) {
        return;
    }
    let looking = Arc::clone(shared);
    let looking = std::thread::spawn(move || {
        let mut told = false;
        while let Some(missing) = missing(&looking) {
            if !told {
                warn!(topic = missing, "an input topic is missing");
                looking.tell(Event::TopicMissing(Some(format!("the input topic `{missing}` is missing"))));
                told = true;
            }
            let since = now();
            while now().saturating_duration_since(since) < EVERY && looking.leaving.get().is_none() {
                std::thread::park_timeout(LOOK);
            }
        }
        if told {
            info!("all input topics are there");
            looking.tell(Event::TopicMissing(None));
        }
        looking.looking.store(false, Ordering::Release);
    });
    shared.keep(looking);
}

/// The first topic that is not there; `None` also when the worker leaves.
fn missing(shared: &Shared) -> Option<&str> {
    let client = shared.consumer.get().and_then(Weak::upgrade)?;
    let is_missing = |topic: &&String| shared.leaving.get().is_none() && !is_there(&client, topic);
    shared.topics.iter().find(is_missing).map(String::as_str)
}

fn is_there(client: &Client, topic: &str) -> bool {
    let Ok(metadata) = client.fetch_metadata(Some(topic), ASK) else { return false };
    let mut topics = metadata.topics().iter();
    topics.any(|known| known.name() == topic && known.error().is_none() && !known.partitions().is_empty())
}
