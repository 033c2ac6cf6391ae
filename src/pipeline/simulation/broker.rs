//! The producer's end: a bounded queue, answers that take their time, failures.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::laws::Written;
use super::topic::{Origin, Taste, origin};
use super::world::{Sent, Shared, World, lock};
use crate::domain::ledger::Publication;
use crate::kafka::sink::{Delivery, Refusal};
use crate::output::{Destination, Outgoing};
use crate::pipeline::Sink;

pub(super) struct Producer {
    pub(super) world: Shared,
    pub(super) process: u64,
}

impl Sink for Producer {
    fn topic(&self, destination: Destination) -> &str {
        match destination {
            Destination::Output => "output",
            Destination::DeadLetter => "dead-letters",
        }
    }

    fn send(&self, outgoing: &Outgoing, publication: Publication) -> Result<(), Refusal> {
        let mut world = lock(&self.world);
        if world.process != self.process {
            return Ok(());
        }
        world.send(outgoing, publication)
    }
}

impl World {
    fn send(&mut self, outgoing: &Outgoing, publication: Publication) -> Result<(), Refusal> {
        let (origin, destination) = (origin(&outgoing.headers), outgoing.destination);
        if self.broker.queued + self.broker.unfreed >= self.plan.queue {
            return Err(Refusal::Full);
        }
        let generation = publication.slot.generation;
        let input = self.topic.input(origin).clone();
        if outgoing.key != input.key.map(|key| key.to_string().into_bytes()) {
            self.laws.breaks(format!("{origin:?} is published with another key"));
        }
        let refuses = input.taste != Taste::Accepts;
        let number = self.laws.published(generation, &input, origin, destination, refuses);
        self.tell(|| format!("publish {origin:?} of {generation:?} to {destination:?}"));
        let result = self.judge(origin, input.taste, destination);
        if let Err(refusal) = &result
            && self.random.bool()
        {
            // Refused at once: nothing is queued.
            self.laws.answered(generation, origin, number, false);
            return Err(refusal.clone());
        }
        let partition = outgoing.partition.unwrap_or_else(|| place(&input.key, &mut self.random));
        let (to_broker, back) = (self.delay(), self.delay());
        let queue = self.broker.queues.entry((destination, partition)).or_default();
        let last = queue.back();
        let write_at = last.map_or_else(Instant::now, |last| last.write_at).max(Instant::now()) + to_broker;
        let answer_at = last.map_or(write_at, |last| last.answer_at).max(write_at) + back;
        // A delivery that fails for its time may have arrived all the same.
        let reaches = result.is_ok() || matches!(result, Err(Refusal::Again(_))) && self.random.bool();
        self.laws.repeats |= reaches && result.is_err();
        let written = false;
        queue.push_back(Sent {
            publication,
            origin,
            destination,
            number,
            write_at,
            answer_at,
            result,
            reaches,
            written,
        });
        self.broker.queued += 1;
        Ok(())
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(self.random.u64(0..self.plan.ack * 1_000))
    }

    fn judge(&mut self, origin: Origin, taste: Taste, destination: Destination) -> Result<(), Refusal> {
        let told = || "the broker says so".to_owned();
        if let Some((refusing, until)) = self.broker.refusing
            && refusing == destination
            && Instant::now() < until
        {
            return Err(Refusal::Topic(told()));
        }
        let before = self.broker.refusals.entry((origin, destination)).or_default();
        let refused = match (taste, destination) {
            (Taste::RefusesOnce, _) => *before == 0,
            (Taste::RefusesOutput | Taste::RefusesBoth, Destination::Output) => true,
            (Taste::RefusesBoth, Destination::DeadLetter) => *before < 3,
            _ => false,
        };
        if refused {
            *before += 1;
            return Err(Refusal::Record(told()));
        }
        if self.happens(self.plan.delivery_faults) {
            return Err(Refusal::Again(told()));
        }
        Ok(())
    }

    /// Writes and answers what is due.
    pub(super) fn deliver(&mut self, answers: &UnboundedSender<Delivery>) {
        let now = Instant::now();
        let Self { broker, laws, history, .. } = self;
        broker.unfreed = 0;
        for queue in broker.queues.values_mut() {
            for sent in queue.iter_mut().take_while(|sent| sent.write_at <= now) {
                if sent.reaches && !std::mem::replace(&mut sent.written, true) {
                    laws.log.push(Written { origin: sent.origin, destination: sent.destination });
                }
            }
            while let Some(sent) = queue.pop_front_if(|sent| sent.answer_at <= now) {
                let generation = sent.publication.slot.generation;
                laws.answered(generation, sent.origin, sent.number, sent.result.is_ok());
                history.push_back(format!("answer {:?}: {:?}", sent.origin, sent.result));
                // A process that has ended hears nothing.
                answers.send(Delivery { publication: sent.publication, result: sent.result }).ok();
                broker.queued -= 1;
                broker.unfreed += 1;
            }
        }
    }

    /// The process dies: of what it had queued, any beginning of each queue still arrives.
    pub(super) fn purge(&mut self) {
        let Self { broker, laws, random, .. } = self;
        for queue in broker.queues.values_mut() {
            let arrive = random.usize(..=queue.len());
            for sent in queue.drain(..).take(arrive) {
                if sent.reaches && !sent.written {
                    laws.log.push(Written { origin: sent.origin, destination: sent.destination });
                }
            }
        }
        (broker.queued, broker.unfreed) = (0, 0);
    }
}

fn place(key: &Option<i64>, random: &mut fastrand::Rng) -> i32 {
    key.map_or_else(|| random.i32(..3), |key| i32::try_from(key % 3).expect("small"))
}
