//! Partitions come and go: assigned, revoked (what is paid for is finished), lost (everything is dropped).

use std::sync::mpsc::SyncSender;
use std::time::Instant;

use tracing::{info, warn};

use super::charge::Accused;
use super::suspension::Suspension;
use super::work::{Entry, Work};
use super::{Held, Pipeline, Sink, age_seconds, now};
use crate::admin::Partition;
use crate::config::Share;
use crate::domain::bisect::Search;
use crate::domain::ledger::{Progress, SlotId};
use crate::domain::record::Generation;
use crate::kafka::event::{Assigned, End, Revoke};
use crate::provider::Embedder;

/// A revoke that is being waited for.
pub(super) struct Pending {
    generations: Vec<Generation>,
    pub(super) deadline: Instant,
    since: Instant,
    leaving: bool,
    reply: SyncSender<Vec<Progress>>,
}

impl<E: Embedder, S: Sink> Pipeline<E, S> {
    pub(super) fn assigned(&mut self, assigned: Vec<Assigned>) {
        self.health.joined();
        self.cut_short = false;
        for Assigned { generation, partition } in assigned {
            self.ledger.open(generation);
            self.held.insert(generation, Held { partition, end: None });
        }
        self.shares_changed();
    }

    /// Drops what is not paid for; the rest has until the deadline. Who leaves for good also tries again what failed and lies before
    /// paid work, which could not be committed otherwise; members that only rebalance wait for one another, and it is left.
    pub(super) fn revoked(&mut self, revoke: Revoke, now: Instant) {
        let Revoke { generations, within, leaving, reply } = revoke;
        let needed = if leaving { self.needed(&generations) } else { Vec::new() };
        if leaving {
            self.gate.unpaced();
        }
        self.drop_unsent(&generations, &needed);
        self.revokes.push(Pending { generations, deadline: now + within, since: now, leaving, reply });
    }

    pub(super) fn lost(&mut self, generations: &[Generation]) {
        // Unless they are assigned again before the end, this is how it ends.
        self.cut_short |= !self.close(generations);
    }

    /// How far each lane has paid work, which is lost on the next owner unless all before it is settled.
    fn needed(&self, generations: &[Generation]) -> Vec<SlotId> {
        generations.iter().filter_map(|generation| self.ledger.last_begun(*generation)).collect()
    }

    /// Whether something that waits for another attempt is needed and due before the deadline.
    fn is_carried_on(&self, pending: &Pending) -> bool {
        // A suspension may end in time.
        let waits = |suspension: &Suspension| suspension.probe_at() >= pending.deadline;
        if !pending.leaving || self.draining || self.suspension.as_ref().is_some_and(waits) {
            return false;
        }
        let needed = self.needed(&pending.generations);
        let is_needed = |work: &Work| {
            let searched = work.search.iter().flat_map(Search::waiting);
            work.entries.iter().chain(searched).any(|entry| lies_before(entry, &needed))
        };
        self.waiting.iter().any(|work| work.due < pending.deadline && is_needed(work))
            || self.accused.iter().any(|accused| is_needed(&accused.work))
            // What is on the wire may be of others, and what is to be tried next of these.
            || self.running.values().filter_map(|running| running.work.as_ref()).any(is_needed)
    }

    /// Drops what is not on the wire, except what lies before the slots given.
    fn drop_unsent(&mut self, generations: &[Generation], needed: &[SlotId]) {
        let gone = |generation: Generation| generations.contains(&generation);
        let dropped = self.batcher.remove(|entry| gone(entry.id.generation));
        for generation in generations {
            self.aside.forget(*generation);
        }
        let accused = std::mem::take(&mut self.accused);
        let waiting = std::mem::take(&mut self.waiting);
        let mut given_up = Vec::new();
        let mut keep = |embedder: &E, mut work: Work| {
            if work.keep(embedder, |entry| !gone(entry.id.generation) || lies_before(entry, needed)) {
                return Some(work);
            }
            given_up.push(work);
            None
        };
        let embedder = &*self.embedder;
        self.waiting = waiting.into_iter().filter_map(|work| keep(embedder, work)).collect();
        self.accused = accused
            .into_iter()
            .filter_map(|Accused { work, charge, after }| {
                Some(Accused { work: keep(embedder, work)?, charge, after })
            })
            .collect();
        for work in given_up {
            self.go_on_without(work, now());
        }
        if dropped > 0 {
            info!(records = dropped, "records that were not sent yet are left to the next owner");
        }
    }

    /// Answers the revokes whose work is done, or whose time is.
    pub(super) fn finish_revokes(&mut self, now: Instant) {
        let mut index = 0;
        while index < self.revokes.len() {
            let pending = &self.revokes[index];
            let busy = pending.generations.iter().any(|generation| self.ledger.is_busy(*generation))
                || self.is_carried_on(pending);
            if busy && now < pending.deadline {
                index += 1;
                continue;
            }
            let pending = self.revokes.swap_remove(index);
            if busy {
                self.cut_short = true;
                warn!("the deadline passed before everything that was sent came back");
            }
            let progress: Vec<Progress> = pending
                .generations
                .iter()
                .filter_map(|generation| self.ledger.progress(*generation))
                .collect();
            let seconds = now.saturating_duration_since(pending.since).as_secs_f64();
            info!(partitions = pending.generations.len(), seconds, "drained");
            // Closed before the answer: nothing of it is published once the next owner may begin.
            let is_whole = self.close(&pending.generations);
            if pending.leaving && !is_whole {
                self.cut_short = true;
            }
            if pending.reply.try_send(progress).is_err() {
                warn!("the poll thread no longer waits for the drain");
            }
        }
    }

    /// `false`: what was paid for or published is done again by the next owner.
    fn close(&mut self, generations: &[Generation]) -> bool {
        let mut is_whole = true;
        // Parts of cut batches may be among it.
        self.cuts.clear();
        // What was on the wire when a revoke came may be waiting for another attempt by now.
        self.drop_unsent(generations, &[]);
        for generation in generations {
            let closed = self.ledger.close(*generation);
            self.ends.budget.release(closed.bytes);
            self.forget_publishing(*generation);
            if let Some(held) = self.held.remove(generation) {
                self.metrics.drop_partition(&held.partition.topic, held.partition.partition);
            }
            if closed.wasted + closed.repeated > 0 {
                is_whole = false;
                warn!(
                    wasted = closed.wasted,
                    repeated = closed.repeated,
                    "a partition left before its records were settled: the next owner repeats them"
                );
            }
        }
        self.shares_changed();
        self.moved = true;
        is_whole
    }

    /// The limits are divided by the partitions that each worker holds.
    fn shares_changed(&mut self) {
        let count = self.held.len();
        self.metrics
            .kafka_assigned_partitions
            .with_label_values(&[self.metrics.group()])
            .set(i64::try_from(count).unwrap_or(i64::MAX));
        if self.config.limits.share == Share::Partitions && count > 0 {
            let share = (count as f64 / self.partitions.max(1) as f64).min(1.0);
            self.gate.set_share(share, now());
        }
        self.show_partitions();
    }

    pub(super) fn ends_seen(&mut self, ends: &[End]) {
        for end in ends {
            if let Some(held) = self.held.get_mut(&end.generation) {
                held.end = Some(*end);
            }
        }
        for (generation, held) in &self.held {
            let Some(end) = held.end else { continue };
            let Some(committed) = end.committed else { continue };
            let lag = (end.end - committed.next()).max(0);
            let partition = held.partition.partition.to_string();
            let labels = [self.metrics.group(), &*held.partition.topic, partition.as_str()];
            self.metrics.kafka_consumer_lag.with_label_values(&labels).set(lag);
            let oldest = self.ledger.oldest(*generation).filter(|_| lag > 0);
            let seconds = oldest.map_or(0.0, age_seconds);
            self.metrics.kafka_consumer_lag_seconds.with_label_values(&labels).set(seconds);
        }
        self.show_partitions();
    }

    fn show_partitions(&self) {
        let partitions = self
            .held
            .iter()
            .map(|(generation, held)| {
                let position = self.ledger.progress(*generation).and_then(|lane| lane.position);
                let committed = held.end.and_then(|end| end.committed);
                let lag = held.end.zip(committed).map(|(end, at)| (end.end - at.next()).max(0));
                Partition {
                    topic: held.partition.topic.to_string(),
                    partition: held.partition.partition,
                    position: position.map(|at| at.next()),
                    committed: committed.map(|at| at.next()),
                    lag,
                }
            })
            .collect();
        self.health.set(|told| told.partitions = partitions);
    }
}

/// Whether a slot of the same lane, of those given, comes after this record.
fn lies_before(entry: &Entry, slots: &[SlotId]) -> bool {
    slots.iter().any(|slot| slot.generation == entry.id.generation && entry.id < *slot)
}
