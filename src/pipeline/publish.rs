//! Publishing: what the ledger lets go is handed to the producer; what the broker answers is noted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use super::{Ended, Pipeline, Sink, age_seconds, now};
use crate::admin::SuspendedBy;
use crate::config::Order;
use crate::domain::ledger::{Publication, SlotId};
use crate::domain::record::{Generation, Record, RejectReason, SkipReason};
use crate::kafka::sink::{Delivery, Refusal};
use crate::output::{self, Destination, Outgoing};
use crate::provider::{Embedder, SuspendReason};

/// How long publishing rests when a topic refuses it; doubled up to the cap.
const REST: Duration = Duration::from_secs(1);
const REST_CAP: Duration = Duration::from_secs(10);
/// How long it rests when a delivery failed for no lasting reason.
const SHORT_REST: Duration = Duration::from_millis(100);
/// How long a partition whose dead letter was refused is held before it is tried again.
const HOLD: Duration = Duration::from_secs(60);

/// What a record became: the label of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Embedded,
    Tombstone,
    Skipped(SkipReason),
    DeadLetter(RejectReason),
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Tombstone => "tombstone",
            Self::Skipped(_) => "skipped",
            Self::DeadLetter(_) => "dead_letter",
        }
    }
}

/// A record's outcome, encoded.
#[derive(Debug)]
pub(super) struct Outcome {
    record: Arc<Record>,
    kind: Kind,
    /// `None`: there is nothing to publish.
    outgoing: Option<Arc<Outgoing>>,
    /// Whether it was counted: a publication that is repeated counts once.
    counted: bool,
    handed_over: Option<Instant>,
}

impl Outcome {
    pub(super) fn new(record: &Arc<Record>, kind: Kind, outgoing: Option<Outgoing>) -> Self {
        let (record, outgoing) = (Arc::clone(record), outgoing.map(Arc::new));
        Self { record, kind, outgoing, counted: false, handed_over: None }
    }

    pub(super) fn tombstone(record: &Arc<Record>) -> Self {
        Self::new(record, Kind::Tombstone, Some(output::tombstone(record)))
    }

    pub(super) fn skipped(record: &Arc<Record>, reason: SkipReason) -> Self {
        Self::new(record, Kind::Skipped(reason), None)
    }

    pub(super) fn dead_letter(
        record: &Arc<Record>,
        reason: RejectReason,
        message: &str,
        attempts: u32,
    ) -> Self {
        let outgoing = output::dead_letter(record, reason, message, attempts);
        Self::new(record, Kind::DeadLetter(reason), Some(outgoing))
    }
}

/// The state of publishing.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    unanswered: usize,
    /// The local queue is full until an answer comes.
    full: bool,
    rest: Option<(Instant, Duration)>,
    /// Which topic refuses what is published, and whose record it refused last: an acknowledgement of its own ends that, or
    /// the end of that assignment.
    refused_topic: Option<(Destination, Generation)>,
    /// What was refused once: while there is some, one record at a time is published.
    refused: BTreeSet<SlotId>,
    held: Vec<(Generation, Instant)>,
}

impl Publishing {
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.refused_topic.is_some() && self.rest.is_some_and(|(until, _)| now < until)
    }

    /// When something may be published that may not be now. A rest that is over waits for an answer, not for a time.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        let held = self.held.iter().map(|(_, until)| *until).min();
        super::Earliest(self.rest.map(|(until, _)| until).filter(|until| *until > now)).or(held)
    }
}

impl<E: Embedder, S: Sink> Pipeline<E, S> {
    /// With `order: partition` an output goes where its input was.
    pub(super) fn placed(&self, mut outcome: Outcome) -> Outcome {
        if self.config.kafka.order == Order::Partition
            && let Some(outgoing) = outcome.outgoing.as_mut().and_then(Arc::get_mut)
            && outgoing.destination == Destination::Output
        {
            outgoing.partition = Some(outcome.record.partition);
        }
        outcome
    }

    /// Publishes all that may be published now.
    pub(super) fn publish(&mut self, now: Instant) {
        self.release_held(now);
        if self.publishing.rest.is_some_and(|(until, _)| now < until) || self.publishing.full {
            return;
        }
        while self.publishing.refused.is_empty() || self.publishing.unanswered == 0 {
            let Some((id, outcome)) = self.ledger.next_to_publish() else { return };
            let outgoing = outcome.outgoing.clone();
            let Some(publication) = self.ledger.publish(id) else { return };
            let Some(outgoing) = outgoing else {
                self.acknowledged(publication, now);
                continue;
            };
            match self.ends.sink.send(&outgoing, publication) {
                Ok(()) => {
                    self.publishing.unanswered += 1;
                    if let Some(outcome) = self.ledger.outcome_mut(id) {
                        outcome.handed_over = Some(now);
                    }
                }
                Err(refusal) => {
                    let goes_on = matches!(refusal, Refusal::Record(_));
                    self.refused(publication, refusal, now);
                    if !goes_on {
                        return;
                    }
                }
            }
        }
    }

    pub(super) fn delivered(&mut self, delivery: Delivery) {
        self.publishing.unanswered = self.publishing.unanswered.saturating_sub(1);
        self.publishing.full = false;
        let now = now();
        match delivery.result {
            Ok(()) => {
                let refused = self.publishing.refused_topic.map(|(topic, _)| topic);
                if refused.is_none() {
                    self.publishing.rest = None;
                } else if self.destination(delivery.publication.slot) == refused {
                    self.resume_publishing();
                }
                self.acknowledged(delivery.publication, now);
            }
            Err(refusal) => self.refused(delivery.publication, refusal, now),
        }
    }

    fn acknowledged(&mut self, publication: Publication, now: Instant) {
        if !self.ledger.is_current(publication) {
            return;
        }
        self.publishing.refused.remove(&publication.slot);
        if let Some(outcome) = self.ledger.outcome_mut(publication.slot)
            && !std::mem::replace(&mut outcome.counted, true)
        {
            let (kind, record) = (outcome.kind, Arc::clone(&outcome.record));
            let (outgoing, handed_over) = (outcome.outgoing.clone(), outcome.handed_over);
            self.count(kind, &record, outgoing.as_deref(), handed_over, now);
        }
        if let Some(freed) = self.ledger.acknowledged(publication) {
            self.ends.budget.release(freed);
            self.moved = true;
        }
    }

    fn count(
        &self,
        kind: Kind,
        record: &Record,
        outgoing: Option<&Outgoing>,
        handed_over: Option<Instant>,
        now: Instant,
    ) {
        let metrics = &self.metrics;
        metrics.records_processed_total.with_label_values(&[metrics.group(), kind.as_str()]).inc();
        metrics
            .last_progress_timestamp_seconds
            .set(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_secs_f64());
        match kind {
            Kind::Skipped(reason) => {
                metrics.records_skipped_total.with_label_values(&[reason.as_str()]).inc()
            }
            Kind::DeadLetter(reason) => {
                metrics.dead_letters_total.with_label_values(&[metrics.group(), reason.as_str()]).inc();
            }
            Kind::Embedded | Kind::Tombstone => {}
        }
        let Some(outgoing) = outgoing else { return };
        let topic = self.ends.sink.topic(outgoing.destination);
        metrics.records_produced_total.with_label_values(&[topic, "ok"]).inc();
        metrics.output_bytes_total.with_label_values(&[topic]).inc_by(outgoing.bytes() as u64);
        if let Some(timestamp) = record.timestamp {
            metrics.end_to_end_latency_seconds.with_label_values(&[topic]).observe(age_seconds(timestamp));
        }
        if let Some(at) = handed_over {
            let seconds = now.saturating_duration_since(at).as_secs_f64();
            metrics.stage_duration_seconds.with_label_values(&["produce"]).observe(seconds);
        }
    }

    /// Acts on what was not published: it is always published later, or becomes a dead letter.
    fn refused(&mut self, publication: Publication, refusal: Refusal, now: Instant) {
        let id = publication.slot;
        if !self.ledger.failed(publication) {
            return;
        }
        if !matches!(refusal, Refusal::Full) {
            let destination = self.destination(id).unwrap_or(Destination::Output);
            let result = if matches!(refusal, Refusal::Record(_)) { "refused" } else { "error" };
            let labels = [self.ends.sink.topic(destination), result];
            self.metrics.records_produced_total.with_label_values(&labels).inc();
        }
        match refusal {
            Refusal::Full if self.publishing.unanswered > 0 => self.publishing.full = true,
            // The last answer is here before its room is free, and no other will come to wake the loop.
            Refusal::Full => self.rest_shortly(now),
            Refusal::Again(message) => {
                debug!(why = message, "a delivery failed, trying again");
                self.rest_shortly(now);
            }
            Refusal::Topic(message) => self.topic_refused(id, &message, now),
            Refusal::Record(message) => self.record_refused(id, &message, now),
            Refusal::Fatal(message) => {
                self.end(Ended::Fatal(format!("the producer cannot go on: {message}")))
            }
        }
    }

    /// Rests for a moment, after the longer rest of a topic that refused.
    fn rest_shortly(&mut self, now: Instant) {
        let rest = self.publishing.rest.filter(|_| self.publishing.refused_topic.is_some());
        let (until, length) = rest.unwrap_or((now, SHORT_REST));
        self.publishing.rest = Some((until.max(now + SHORT_REST), length));
    }

    fn destination(&mut self, id: SlotId) -> Option<Destination> {
        Some(self.ledger.outcome_mut(id)?.outgoing.as_ref()?.destination)
    }

    /// Nothing goes on before somebody acts: rest, say so, try again with one record.
    fn topic_refused(&mut self, id: SlotId, message: &str, now: Instant) {
        let Some(destination) = self.destination(id) else { return };
        let known = self.publishing.refused_topic.replace((destination, id.generation));
        let length = match self.publishing.rest {
            Some((until, _)) if now < until && known.is_some() => return,
            Some((_, length)) if known.is_some() => (length * 2).min(REST_CAP),
            _ => REST,
        };
        let topic = self.ends.sink.topic(destination);
        if known.is_none_or(|(topic, _)| topic != destination) {
            error!(topic, why = message, "the topic refuses what is published; trying again");
        }
        let message = format!("topic `{topic}` refuses what is published: {message}");
        let reason = SuspendReason::OutputRefused.as_str();
        self.health.suspend(SuspendedBy::Topic, reason, message, Some((now + length).into()));
        self.show_refused();
        self.publishing.rest = Some((now + length, length));
    }

    fn resume_publishing(&mut self) {
        info!("the topic accepts what is published, going on");
        (self.publishing.rest, self.publishing.refused_topic) = (None, None);
        self.health.resume(SuspendedBy::Topic);
        self.show_refused();
    }

    fn show_refused(&self) {
        let refused = self.publishing.refused_topic.is_some() || !self.publishing.held.is_empty();
        let reason = SuspendReason::OutputRefused.as_str();
        self.metrics.suspended.with_label_values(&[reason]).set(refused.into());
    }

    /// The record itself is refused: once more alone (it may have been refused with its neighbours), then a dead letter; a dead
    /// letter that is refused holds its partition.
    fn record_refused(&mut self, id: SlotId, message: &str, now: Instant) {
        if self.publishing.refused.insert(id) {
            return;
        }
        self.publishing.refused.remove(&id);
        let Some(outcome) = self.ledger.outcome_mut(id) else { return };
        let record = Arc::clone(&outcome.record);
        let (topic, partition, offset) = (&*record.topic, record.partition, record.offset.0);
        if !matches!(outcome.kind, Kind::DeadLetter(_)) {
            warn!(topic, partition, offset, why = message, "the broker refuses the output: a dead letter");
            *outcome = Outcome::dead_letter(&record, RejectReason::OutputRefused, message, 0);
            return;
        }
        error!(
            topic,
            partition,
            offset,
            why = message,
            "the broker refuses a dead letter: the partition is held"
        );
        let text = format!(
            "partition {topic}/{partition} is held: the dead letter of offset {offset} is refused: {message}"
        );
        let reason = SuspendReason::OutputRefused.as_str();
        self.health.suspend(SuspendedBy::HeldPartitions, reason, text, Some((now + HOLD).into()));
        self.ledger.hold(id.generation);
        self.publishing.held.push((id.generation, now + HOLD));
        self.show_refused();
    }

    fn release_held(&mut self, now: Instant) {
        let ledger = &mut self.ledger;
        let before = self.publishing.held.len();
        self.publishing.held.retain(|(generation, until)| {
            let keep = now < *until;
            if !keep {
                ledger.release(*generation);
            }
            keep
        });
        self.accepted_again(before);
    }

    /// Says that nothing is refused any more, once the last of `before` held partitions is not held any longer.
    fn accepted_again(&mut self, before: usize) {
        if before > 0 && self.publishing.held.is_empty() {
            self.health.resume(SuspendedBy::HeldPartitions);
            self.show_refused();
        }
    }

    /// Forgets what a closed lane leaves behind.
    pub(super) fn forget_publishing(&mut self, generation: Generation) {
        self.publishing.refused.retain(|id| id.generation != generation);
        if self.publishing.refused_topic.is_some_and(|(_, refused)| refused == generation) {
            self.resume_publishing();
        }
        let before = self.publishing.held.len();
        self.publishing.held.retain(|(held, _)| *held != generation);
        self.accepted_again(before);
    }
}
