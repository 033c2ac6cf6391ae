//! A consumed message, copied out at once: a borrowed one pins its whole fetch response.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers as _};

use crate::domain::record::{Headers, Offset, Record};

/// Topic names, shared by the records that carry them.
#[derive(Debug, Default)]
pub(super) struct Topics(BTreeMap<String, Arc<str>>);

impl Topics {
    pub(super) fn name(&mut self, topic: &str) -> Arc<str> {
        if let Some(name) = self.0.get(topic) {
            return Arc::clone(name);
        }
        let name: Arc<str> = Arc::from(topic);
        self.0.insert(topic.to_owned(), Arc::clone(&name));
        name
    }
}

/// Copies a message. The flag says whether its headers could be read.
pub(super) fn record(message: &BorrowedMessage<'_>, topic: Arc<str>) -> (Record, bool) {
    let headers = headers(message);
    let readable = headers.is_some();
    let record = Record {
        topic,
        partition: message.partition(),
        offset: Offset(message.offset()),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    };
    (record, readable)
}

thread_local! {
    static READING_HEADERS: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread, now, is caught by `headers`: the process' panic hook lets it pass.
pub fn panic_is_caught() -> bool {
    READING_HEADERS.get()
}

/// rdkafka panics on a header name that is not UTF-8, and names come from outside: such headers are reported as unreadable.
fn headers(message: &BorrowedMessage<'_>) -> Option<Headers> {
    let Some(headers) = message.headers() else { return Some(Vec::new()) };
    READING_HEADERS.set(true);
    let read = catch_unwind(AssertUnwindSafe(|| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    }));
    READING_HEADERS.set(false);
    read.ok()
}
