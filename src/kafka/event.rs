//! What the poll thread tells the loop.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use crate::domain::ledger::Progress;
use crate::domain::record::{Content, Generation, Position, Record, TopicPartition};

/// A record as it leaves the poll thread: taken in, and charged to the budget.
#[derive(Debug)]
pub struct Received {
    /// The record.
    pub record: Arc<Record>,
    /// What intake made of it.
    pub content: Content,
    /// What is charged for it, in bytes.
    pub bytes: u64,
}

/// A partition that was assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The name of this assignment.
    pub generation: Generation,
    /// The partition.
    pub partition: TopicPartition,
}

/// A revoke: the poll thread waits for the reply.
#[derive(Debug)]
pub struct Revoke {
    /// Whose work is to be finished.
    pub generations: Vec<Generation>,
    /// How long that may take.
    pub within: Duration,
    /// Whether the worker leaves the group: there is time to finish what keeps paid work from being committed.
    pub leaving: bool,
    /// How far each lane got: what is committed. Dropped unanswered, the partitions count as lost.
    pub reply: SyncSender<Vec<Progress>>,
}

/// Where a partition ends, as the broker said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The lane.
    pub generation: Generation,
    /// The offset behind the partition's last record.
    pub end: i64,
    /// What is committed.
    pub committed: Option<Position>,
}

/// All that the poll thread tells.
#[derive(Debug)]
pub enum Event {
    /// Records, in the order of each partition.
    Records(Vec<(Generation, Received)>),
    /// New partitions; possibly none.
    Assigned(Vec<Assigned>),
    /// Partitions that another member waits for.
    Revoked(Revoke),
    /// Partitions that another member may have already.
    Lost(Vec<Generation>),
    /// Where partitions end.
    Ends(Vec<End>),
    /// Whether any broker is connected: told when it changes.
    Connected(bool),
    /// An input topic is not there any more: which, in words. `None`: all are there again.
    TopicMissing(Option<String>),
    /// The brokers do not let this user into the group: why, in words. `None`: they do again.
    GroupRefused(Option<String>),
    /// The consumer cannot go on: the process ends.
    Fatal(String),
    /// The consumer has left the group.
    Closed {
        /// Whether the broker has the last positions.
        committed: bool,
    },
}
