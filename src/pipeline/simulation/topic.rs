//! The input topic: what is written to it, and what must become of each record.

use std::sync::Arc;

use fastrand::Rng;

use super::plan::Plan;
use crate::domain::record::{Content, Offset, Record, RejectReason, SkipReason, Text};
use crate::output::Destination;

/// The header that tells which input an output came from.
const ORIGIN: &str = "origin";

/// Where a record is: partition and offset.
pub(super) type Origin = (usize, i64);

/// What the provider thinks of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Poison {
    /// A 400 that can only be a record's.
    Rejected,
    /// A 400 that could be the configuration's.
    Unclear,
    /// A vector that is not finite.
    NonFinite,
    /// A 500, again and again.
    Failing,
    /// A 413.
    TooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Good,
    Poison(Poison),
    Tombstone,
    Blank,
    /// Intake rejects it.
    Broken,
}

/// How the broker likes a record's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taste {
    Accepts,
    /// Refused the first time.
    RefusesOnce,
    /// The embedding is too large, the dead letter is not.
    RefusesOutput,
    /// The dead letter is refused as well, some times.
    RefusesBoth,
}

#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) offset: i64,
    pub(super) key: Option<i64>,
    pub(super) nature: Nature,
    pub(super) taste: Taste,
    tokens: u32,
    padding: usize,
}

impl Input {
    fn drawn(offset: i64, plan: &Plan, random: &mut Rng) -> Self {
        let poisons =
            [Poison::Rejected, Poison::Unclear, Poison::NonFinite, Poison::Failing, Poison::TooLarge];
        let poison = poisons[if plan.all_poisons { random.usize(..poisons.len()) } else { 0 }];
        let nature = match random.f64() {
            x if x < plan.poison => Nature::Poison(poison),
            x if x > 0.97 => Nature::Broken,
            x if x > 0.93 => Nature::Blank,
            x if x > 0.88 => Nature::Tombstone,
            _ => Nature::Good,
        };
        let tastes = [Taste::RefusesOnce, Taste::RefusesOutput, Taste::RefusesBoth];
        let taste = if random.f64() < plan.refused { tastes[random.usize(..3)] } else { Taste::Accepts };
        let key = (random.u8(..) > 20).then(|| random.i64(0..plan.keys));
        Self { offset, key, nature, taste, tokens: random.u32(1..60), padding: random.usize(..40) }
    }

    /// Whether anything is published for it.
    pub(super) fn is_published(&self) -> bool {
        match self.nature {
            Nature::Blank => false,
            Nature::Tombstone => self.key.is_some(),
            _ => true,
        }
    }

    /// Where its outcome belongs.
    pub(super) fn destination(&self) -> Destination {
        let embedded = matches!(self.nature, Nature::Good | Nature::Tombstone);
        let refused = matches!(self.taste, Taste::RefusesOutput | Taste::RefusesBoth);
        if embedded && !refused { Destination::Output } else { Destination::DeadLetter }
    }

    fn content(&self, text: &str) -> Content {
        match self.nature {
            Nature::Good | Nature::Poison(_) => Content::Text(Text {
                text: text.to_owned(),
                tokens: self.tokens,
                truncated: false,
                payload: None,
            }),
            Nature::Tombstone if self.key.is_some() => Content::Tombstone,
            Nature::Tombstone => Content::Skip(SkipReason::TombstoneWithoutKey),
            Nature::Blank => Content::Skip(SkipReason::Blank),
            Nature::Broken => Content::Reject(RejectReason::InvalidInput, "broken".to_owned()),
        }
    }

    /// The record as the poll thread takes it in. The text names the assignment, so that the provider sees who sends what.
    pub(super) fn received(&self, partition: usize, generation: u64) -> (Arc<Record>, Content) {
        let text = format!("{generation}/{partition}/{}/{}", self.offset, "x".repeat(self.padding));
        let origin = format!("{partition}/{}", self.offset).into_bytes();
        let record = Record {
            topic: "input".into(),
            partition: i32::try_from(partition).unwrap(),
            offset: Offset(self.offset),
            timestamp: None,
            key: self.key.map(|key| key.to_string().into_bytes()),
            value: (self.nature != Nature::Tombstone).then(|| text.clone().into_bytes()),
            headers: vec![(ORIGIN.to_owned(), Some(origin))],
        };
        (Arc::new(record), self.content(&text))
    }
}

/// Which input an output came from.
pub(super) fn origin(headers: &[(String, Option<Vec<u8>>)]) -> Origin {
    let origin = headers.iter().find(|(name, _)| name == ORIGIN).and_then(|(_, value)| value.as_ref());
    let origin = String::from_utf8_lossy(origin.expect("headers are copied"));
    let (partition, offset) = origin.split_once('/').unwrap();
    (partition.parse().unwrap(), offset.parse().unwrap())
}

/// The partitions of the input topic, and what the group has committed.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) partitions: Vec<Vec<Input>>,
    pub(super) committed: Vec<i64>,
}

impl Topic {
    pub(super) fn new(partitions: usize) -> Self {
        Self { partitions: vec![Vec::new(); partitions], committed: vec![0; partitions] }
    }

    pub(super) fn produce(&mut self, partition: usize, records: usize, plan: &Plan, random: &mut Rng) {
        let inputs = &mut self.partitions[partition];
        for _ in 0..records {
            // Compaction and transaction markers leave gaps.
            let gap = if random.u8(..) < 20 { random.i64(2..5) } else { 1 };
            let offset = inputs.last().map_or(0, |last| last.offset + gap);
            inputs.push(Input::drawn(offset, plan, random));
        }
    }

    pub(super) fn input(&self, (partition, offset): Origin) -> &Input {
        let inputs = &self.partitions[partition];
        &inputs[inputs.partition_point(|input| input.offset < offset)]
    }

    /// Where the committed position is in the list of records.
    pub(super) fn index(&self, partition: usize) -> usize {
        let committed = self.committed[partition];
        self.partitions[partition].partition_point(|input| input.offset < committed)
    }

    pub(super) fn end(&self, partition: usize) -> i64 {
        self.partitions[partition].last().map_or(0, |last| last.offset + 1)
    }
}
