//! The drain of a revoke: the poll thread waits until the loop has finished what is worth it, then commits.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;
use tracing::warn;

use super::event::{Event, Revoke};
use super::marks::Marks;
use super::shared::{Shared, add, lock, now};
use crate::domain::ledger::Progress;
use crate::domain::record::{Generation, Position, TopicPartition};

/// How long the last commit is waited for: without a broker it would block for a whole session.
const COMMIT: Duration = Duration::from_secs(3);
/// What the poll thread waits beyond the loop's own deadline before it takes the partitions for lost.
const REPLY_MARGIN: Duration = Duration::from_secs(1);
/// How often the poll thread looks whether the commit in flight is answered.
const LOOK: Duration = Duration::from_millis(5);
/// How often the poll thread says that it lives while it waits.
const BEAT: Duration = Duration::from_secs(1);
/// How often a member that leaves says so to the group: librdkafka's own heartbeat, half of the shortest session that brokers allow.
const RENEW: Duration = Duration::from_secs(3);

/// A lane that is no longer polled.
pub(super) struct Closed {
    pub(super) generation: Generation,
    pub(super) partition: TopicPartition,
    pub(super) marks: Marks,
}

/// When the parts of a drain have to be over, from its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    /// What is worth it is finished.
    work: Duration,
    /// The loop has said so.
    reply: Duration,
    /// Positions are committed.
    commit: Duration,
}

impl Times {
    /// Other members wait for this one: its work may take the time that is configured for it.
    fn of_a_rebalance(work: Duration) -> Self {
        let reply = work + REPLY_MARGIN;
        Self { work, reply, commit: reply + COMMIT }
    }

    /// The process ends when all of its time is over: work leaves some for the commit.
    fn of_the_last(all: Duration) -> Self {
        let kept = (REPLY_MARGIN + COMMIT).min(all / 4);
        Self { work: all - kept, reply: all - kept * 3 / 4, commit: all }
    }
}

/// Waits until the loop has finished what is worth it, then commits. No answer in time means lost: nothing is committed.
pub(super) fn drain(shared: &Arc<Shared>, closed: &[Closed]) {
    let since = now();
    let asked = shared.leaving.get();
    let times = match asked {
        None => Times::of_a_rebalance(shared.revoke_deadline),
        Some(asked) => {
            let passed = since.saturating_duration_since(*asked);
            Times::of_the_last(shared.shutdown_deadline.saturating_sub(passed))
        }
    };
    let generations = closed.iter().map(|lane| lane.generation).collect();
    let (reply, answer) = sync_channel(1);
    shared.tell(Event::Revoked(Revoke { generations, within: times.work, leaving: asked.is_some(), reply }));
    // The last heartbeat may be nearly an interval old: the first renewal comes at once.
    let renewed = Cell::new(None);
    let renew = || {
        let at = now();
        // The last commit waits for the one in flight, and follows at once near the end.
        let is_due = renewed.get().is_none_or(|last| at.saturating_duration_since(last) >= RENEW);
        if asked.is_some() && is_due && at + COMMIT < since + times.reply {
            renewed.set(Some(at));
            renew(shared, closed);
        }
    };
    let committed = match wait(shared, &answer, since + times.reply, renew) {
        Some(progress) => {
            settle(shared, since + times.commit);
            let positions = positions(shared, closed, &progress);
            positions.count() == 0 || commit(shared, positions, since + times.commit)
        }
        None => {
            warn!("the drain of revoked partitions did not end in time; they count as lost");
            false
        }
    };
    if asked.is_some() && !committed {
        shared.left_uncommitted();
    }
}

/// Waits on the poll thread, which is alive meanwhile; `each` is called at every [`BEAT`].
fn wait<T>(shared: &Shared, answer: &Receiver<T>, deadline: Instant, each: impl Fn()) -> Option<T> {
    loop {
        (shared.beat)();
        let left = deadline.saturating_duration_since(now());
        match answer.recv_timeout(left.min(BEAT)) {
            Ok(answer) => return Some(answer),
            Err(RecvTimeoutError::Timeout) if !left.is_zero() => each(),
            Err(_) => return None,
        }
    }
}

/// Commits what is settled until now, or the same again. librdkafka sends no heartbeats for a consumer that has unsubscribed
/// (rd_kafka_cgrp_join_state_serve), so that a drain as long as `session.timeout.ms` would end outside the group, its commit refused;
/// the broker counts a commit as a heartbeat.
fn renew(shared: &Arc<Shared>, closed: &[Closed]) {
    let settled = shared.progress.borrow().clone();
    let Some(client) = shared.consumer.get().and_then(Weak::upgrade) else { return };
    let mut commits = lock(&shared.commits);
    if commits.is_in_flight() {
        return;
    }
    let mut held = Vec::new();
    let mut list = TopicPartitionList::new();
    for Closed { generation, partition, marks } in closed {
        // A lane that the loop has closed meanwhile is told of no more, and the marks here may be older than what was committed.
        let known = commits.committed(*generation);
        if let Some(position) = committable(*marks, *generation, &settled).max(known) {
            held.push((*generation, position));
            add(&mut list, partition, position);
        }
    }
    if held.is_empty() {
        return;
    }
    commits.started(held, now());
    drop(commits);
    let answering = Arc::clone(shared);
    shared.keep(std::thread::spawn(move || {
        let answer = client.commit(&list, CommitMode::Sync);
        drop((list, client));
        answering.answered(&answer);
    }));
}

/// What may be committed of a lane after the loop has told how far it is.
fn committable(mut marks: Marks, generation: Generation, settled: &[Progress]) -> Option<Position> {
    if let Some(lane) = settled.iter().find(|lane| lane.generation == generation) {
        marks.settled(lane);
    }
    marks.committable()
}

/// What is to be committed.
fn positions(shared: &Shared, closed: &[Closed], progress: &[Progress]) -> TopicPartitionList {
    let mut positions = TopicPartitionList::new();
    let commits = lock(&shared.commits);
    for Closed { generation, partition, marks } in closed {
        let new = committable(*marks, *generation, progress);
        if let Some(position) = new.filter(|at| commits.committed(*generation) != Some(*at)) {
            add(&mut positions, partition, position);
        }
    }
    positions
}

/// Waits for the answer to the commit in flight: one that came later than the revoke's would move positions back.
fn settle(shared: &Shared, deadline: Instant) {
    while lock(&shared.commits).is_in_flight() && now() < deadline {
        (shared.beat)();
        std::thread::park_timeout(LOOK);
    }
}

/// Commits synchronously, on a thread of its own: the call knows no deadline. `false` if the broker does not have it in time.
fn commit(shared: &Arc<Shared>, positions: TopicPartitionList, deadline: Instant) -> bool {
    let Some(client) = shared.consumer.get().and_then(Weak::upgrade) else { return false };
    let (done, result) = sync_channel(1);
    let since = now();
    let committing = std::thread::spawn(move || {
        let committed = client.commit(&positions, CommitMode::Sync);
        drop((positions, client));
        // Nobody waits any more once the deadline has passed.
        done.try_send(committed).ok();
    });
    shared.keep(committing);
    let result = wait(shared, &result, deadline, || {});
    shared.stage("commit", since);
    shared.committed(matches!(result, Some(Ok(()))));
    match result {
        Some(Ok(())) => return true,
        Some(Err(failure)) => {
            warn!(error = %failure, "the last commit of revoked partitions was refused: their tail is repeated");
        }
        None => {
            warn!("the last commit of revoked partitions got no answer in time: their tail may be repeated");
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_drain_ends_with_its_commit_inside_its_time() {
        for millis in [0, 1, 100, 1_000, 5_000, 25_000, 600_000] {
            let all = Duration::from_millis(millis);
            let Times { work, reply, commit } = Times::of_the_last(all);
            assert!(work <= reply && reply <= commit && commit <= all, "{all:?}");
            assert!(work >= all * 3 / 4, "most of it is for the work: {all:?}");
        }
        let Times { work, reply, commit } = Times::of_the_last(Duration::from_secs(25));
        assert_eq!((work.as_secs(), reply.as_secs(), commit.as_secs()), (21, 22, 25));
    }

    #[test]
    fn a_rebalance_gives_the_work_all_that_is_configured() {
        let Times { work, reply, commit } = Times::of_a_rebalance(Duration::from_secs(20));
        assert_eq!((work.as_secs(), reply.as_secs(), commit.as_secs()), (20, 21, 24));
    }
}
