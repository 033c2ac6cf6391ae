//! The thread on which commits wait for their answer.
//!
//! An asynchronous commit tells nobody how it ended: librdkafka posts its event only where an offset commit callback is configured,
//! which rdkafka's event interface does not do. So commits are synchronous, on a thread of their own, one at a time.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::missing;
use super::shared::{Client, Shared};

/// The handle of the thread. Dropped, the thread ends after the commit under way.
pub(super) struct Committer {
    lists: SyncSender<TopicPartitionList>,
    thread: JoinHandle<()>,
}

impl Committer {
    /// Starts the thread.
    pub(super) fn start(consumer: Weak<Client>, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (lists, receiver) = sync_channel(1);
        let thread = std::thread::Builder::new().name("commit".to_owned());
        let thread = thread.spawn(move || run(&receiver, &consumer, &shared))?;
        Ok(Self { lists, thread })
    }

    /// Commits; the answer goes to [`Shared::answered`]. `false` if the last one is not answered yet, or the thread has ended.
    pub(super) fn commit(&self, list: TopicPartitionList) -> bool {
        self.lists.try_send(list).is_ok()
    }

    /// Lets the thread end; the handle tells when it has.
    pub(super) fn end(self) -> JoinHandle<()> {
        self.thread
    }
}

fn run(lists: &Receiver<TopicPartitionList>, consumer: &Weak<Client>, shared: &Arc<Shared>) {
    while let Ok(list) = lists.recv() {
        let Some(consumer) = consumer.upgrade() else { return };
        let answer = consumer.commit(&list, CommitMode::Sync);
        // The last to let go of a consumer closes it, which is for the poll thread to do.
        drop((list, consumer));
        shared.answered(&answer);
        if let Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownTopicOrPartition)) = answer {
            missing::look(shared);
        }
    }
}
