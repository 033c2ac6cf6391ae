use proptest::prelude::*;

use super::*;

const LIMITS: Limits =
    Limits { max_tokens: 100, max_records: 4, max_bytes: 1_000, linger: Duration::from_millis(50) };

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A batcher with these records, named by their place: tokens and bytes.
fn batcher(limits: Limits, records: &[(u64, u64)], now: Instant) -> Batcher<usize> {
    let mut batcher = Batcher::new(limits);
    for (name, (tokens, bytes)) in records.iter().enumerate() {
        batcher.push(name, *tokens, *bytes, now);
    }
    batcher
}

#[test]
fn nothing_is_due_before_the_batch_is_full_or_its_oldest_record_has_lingered() {
    let now = start();
    let mut batcher = batcher(LIMITS, &[(10, 10)], now);
    batcher.push(1, 10, 10, now + ms(40));
    assert_eq!(batcher.deadline(), Some(now + ms(50)), "the oldest record's");
    assert_eq!(batcher.due(now + ms(49)), None);
    assert!(batcher.close(now + ms(49)).is_none());
    let batch = batcher.close(now + ms(50)).expect("lingered");
    assert_eq!((batch.entries, batch.cause, batch.since), (vec![0, 1], Cause::Linger, now));
    assert_eq!((batcher.deadline(), batcher.total()), (None, Size::default()));
}

#[test]
fn a_batch_that_is_due_takes_in_more_until_it_is_closed() {
    let now = start();
    let mut batcher = batcher(LIMITS, &[(10, 10)], now);
    let late = now + ms(500);
    assert_eq!(batcher.due(late).map(|size| size.records), Some(1));
    batcher.push(1, 10, 10, late);
    assert_eq!(batcher.due(late), Some(Size { tokens: 20, records: 2, bytes: 20 }));
    assert_eq!(batcher.close(late).map(|batch| batch.entries), Some(vec![0, 1]));
}

#[test]
fn each_limit_closes_a_batch_under_its_own_name() {
    let now = start();
    let close = |records: &[(u64, u64)]| {
        batcher(LIMITS, records, now).close(now).map(|batch| (batch.entries.len(), batch.cause.as_str()))
    };
    assert_eq!(close(&[(60, 1), (41, 1)]), Some((1, "tokens")));
    assert_eq!(close(&[(1, 600), (1, 401)]), Some((1, "bytes")));
    assert_eq!(close(&[(1, 1); 5]), Some((4, "records")));
    assert_eq!(close(&[(60, 1), (40, 1)]), Some((2, "tokens")), "exactly full: nothing to linger for");
    assert_eq!(close(&[(1, 600), (1, 400)]), Some((2, "bytes")));
    assert_eq!(close(&[(1, 1); 4]), Some((4, "records")));
    assert_eq!(close(&[(60, 600), (39, 399)]), None, "one more may fit");
    assert_eq!(close(&[]), None);
    let lingered = batcher(LIMITS, &[(1, 1)], now).close(now + LIMITS.linger);
    assert_eq!(lingered.map(|batch| batch.cause.as_str()), Some("linger"));
}

#[test]
fn a_record_that_alone_exceeds_a_limit_is_a_batch_of_its_own_at_once() {
    let now = start();
    for huge in [(101, 1), (1, 1_001), (u64::from(u32::MAX), u64::from(u32::MAX))] {
        let mut batcher = batcher(LIMITS, &[(1, 1), huge, (1, 1)], now);
        assert_eq!(batcher.close(now).map(|batch| batch.entries), Some(vec![0]));
        assert_eq!(batcher.close(now).map(|batch| batch.entries), Some(vec![1]));
        assert!(batcher.close(now).is_none());
        let alone = self::batcher(LIMITS, &[huge], now).due(now);
        assert!(alone.is_some_and(|size| size.fill(&LIMITS) > 1.0));
    }
}

#[test]
fn without_linger_a_record_is_due_at_once() {
    let now = start();
    let limits = Limits { linger: Duration::ZERO, ..LIMITS };
    assert!(batcher(limits, &[(1, 1)], now).due(now).is_some());
}

#[test]
fn a_linger_beyond_the_clocks_end_is_for_ever() {
    let now = start();
    let limits = Limits { linger: Duration::MAX, ..LIMITS };
    let mut batcher = batcher(limits, &[(1, 1)], now);
    assert_eq!(batcher.deadline(), None);
    assert_eq!(batcher.due(now + ms(86_400_000)), None);
    batcher.push(1, 100, 1, now);
    assert!(batcher.close(now).is_some(), "full is full");
}

#[test]
fn a_limit_of_zero_counts_as_one() {
    let now = start();
    let none = Limits { max_tokens: 0, max_records: 0, max_bytes: 0, linger: Duration::ZERO };
    let mut batcher = batcher(none, &[(5, 5); 3], now);
    batcher.set_limits(none);
    for name in 0..3 {
        assert_eq!(batcher.close(now).map(|batch| batch.entries), Some(vec![name]));
    }
    let limits = *batcher.limits();
    assert_eq!((limits.max_tokens, limits.max_records, limits.max_bytes), (1, 1, 1));
}

#[test]
fn other_limits_take_effect_at_once() {
    let now = start();
    let mut batcher = batcher(LIMITS, &[(10, 10); 3], now);
    assert_eq!(batcher.due(now), None);
    batcher.set_limits(Limits { max_records: 2, ..LIMITS });
    assert_eq!(batcher.due(now).map(|size| size.records), Some(2));
    batcher.set_limits(LIMITS);
    assert_eq!(batcher.due(now), None);
}

#[test]
fn removing_takes_out_what_was_given_up_and_keeps_the_others_order_and_age() {
    let now = start();
    let mut batcher = batcher(LIMITS, &[(10, 100), (20, 200), (30, 300)], now);
    batcher.push(3, 5, 50, now + ms(30));
    assert_eq!(batcher.remove(|name| name % 2 == 0), 2);
    assert_eq!(batcher.total(), Size { tokens: 25, records: 2, bytes: 250 });
    assert_eq!(batcher.remove(|name| *name == 1), 1);
    assert_eq!(batcher.deadline(), Some(now + ms(80)), "the one that is the oldest now");
    assert_eq!(batcher.remove(|_| false), 0);
    assert_eq!(batcher.remove(|_| true), 1);
    assert_eq!((batcher.total(), batcher.deadline()), (Size::default(), None));
}

#[test]
fn fill_is_the_share_of_the_limit_that_binds() {
    let fill = |tokens, records, bytes| Size { tokens, records, bytes }.fill(&LIMITS);
    assert_eq!(fill(50, 1, 100), 0.5);
    assert_eq!(fill(10, 3, 100), 0.75);
    assert_eq!(fill(10, 1, 900), 0.9);
    assert_eq!(fill(100, 1, 1), 1.0);
    assert_eq!(fill(250, 1, 1), 2.5);
    assert_eq!(Size::default().fill(&LIMITS), 0.0);
    let zero = Limits { max_tokens: 0, max_records: 0, max_bytes: 0, linger: Duration::ZERO };
    assert_eq!(Size::default().fill(&zero), 0.0);
}

#[derive(Clone, Debug)]
enum Operation {
    Push(u64, u64),
    Wait(u64),
    /// Jumps to the deadline, where something must be due.
    Deadline,
    Close,
    /// Gives up every record whose name has this remainder by 5.
    Remove(usize),
    Limit(Option<usize>, Option<u64>, Option<u64>),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    use Operation::*;
    let small = || prop::option::of(0..40_u64);
    let operation = prop_oneof![
        8 => (1..40_u64, 0..400_u64).prop_map(|(tokens, bytes)| Push(tokens, bytes)),
        1 => (1..300_u64, 0..3_000_u64).prop_map(|(tokens, bytes)| Push(tokens, bytes)),
        3 => (0..60_u64).prop_map(Wait),
        2 => Just(Deadline),
        4 => Just(Close),
        1 => (0..7_usize).prop_map(Remove),
        1 => (prop::option::of(0..6_usize), small(), small())
            .prop_map(|(records, tokens, bytes)| Limit(records, tokens, bytes.map(|bytes| bytes * 20))),
    ];
    prop::collection::vec(operation, 1..200)
}

#[derive(Clone, Copy, Debug)]
struct Record {
    name: usize,
    tokens: u64,
    bytes: u64,
    since: Instant,
}

/// A batcher beside a plain list of what should be in it.
struct World {
    batcher: Batcher<usize>,
    waiting: Vec<Record>,
    names: usize,
    now: Instant,
}

fn size(records: &[Record]) -> Size {
    Size {
        tokens: records.iter().map(|record| record.tokens).sum(),
        records: records.len(),
        bytes: records.iter().map(|record| record.bytes).sum(),
    }
}

fn fits(size: Size, limits: &Limits) -> bool {
    size.tokens <= limits.max_tokens && size.records <= limits.max_records && size.bytes <= limits.max_bytes
}

impl World {
    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Push(tokens, bytes) => {
                let record = Record { name: self.names, tokens, bytes, since: self.now };
                self.batcher.push(record.name, tokens, bytes, self.now);
                self.waiting.push(record);
                self.names += 1;
            }
            Operation::Wait(milliseconds) => self.now += ms(milliseconds),
            Operation::Deadline => {
                if let Some(deadline) = self.batcher.deadline() {
                    self.now = self.now.max(deadline);
                    assert!(self.batcher.due(self.now).is_some(), "nobody waits longer than linger");
                    self.close();
                }
            }
            Operation::Close => {
                self.close();
            }
            Operation::Remove(remainder) => {
                let before = self.waiting.len();
                self.waiting.retain(|record| record.name % 5 != remainder);
                let removed = self.batcher.remove(|name| name % 5 == remainder);
                assert_eq!(removed, before - self.waiting.len());
            }
            Operation::Limit(records, tokens, bytes) => {
                let limits = *self.batcher.limits();
                self.batcher.set_limits(Limits {
                    max_records: records.unwrap_or(limits.max_records),
                    max_tokens: tokens.unwrap_or(limits.max_tokens),
                    max_bytes: bytes.unwrap_or(limits.max_bytes),
                    ..limits
                });
            }
        }
    }

    fn close(&mut self) {
        let due = self.batcher.due(self.now);
        let batch = self.batcher.close(self.now);
        assert_eq!(due, batch.as_ref().map(|batch| batch.size), "what was said is what is closed");
        let Some(batch) = batch else { return };
        let limits = *self.batcher.limits();
        assert!(!batch.entries.is_empty());
        let records: Vec<Record> = self.waiting.drain(..batch.entries.len()).collect();
        let names: Vec<usize> = records.iter().map(|record| record.name).collect();
        assert_eq!(batch.entries, names, "first in, first out, nothing lost, nothing doubled");
        assert_eq!(batch.size, size(&records));
        assert_eq!(batch.since, records[0].since);
        assert!(fits(batch.size, &limits) || records.len() == 1, "within the limits unless alone");
        let lingered = self.now >= batch.since + limits.linger;
        match self.waiting.first() {
            Some(next) => {
                let more: Vec<Record> = records.iter().copied().chain([*next]).collect();
                assert!(!fits(size(&more), &limits), "the next one would have fitted");
                assert_ne!(batch.cause, Cause::Linger);
            }
            None if batch.cause == Cause::Linger => assert!(lingered),
            None => assert!(batch.size.fill(&limits) >= 1.0, "neither full nor lingered"),
        }
    }

    fn check(&self) {
        assert_eq!(self.batcher.total(), size(&self.waiting));
        let oldest = self.waiting.first().map(|record| record.since);
        assert_eq!(self.batcher.deadline(), oldest.map(|since| since + self.batcher.limits().linger));
        let limits = self.batcher.limits();
        let all = size(&self.waiting);
        let is_due = oldest.is_some_and(|since| self.now >= since + limits.linger) || all.fill(limits) >= 1.0;
        assert_eq!(self.batcher.due(self.now).is_some(), is_due, "due: full or lingered, nothing else");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_batcher_keeps_its_laws_whatever_happens(operations in operations()) {
        let now = start();
        let mut world = World { batcher: Batcher::new(LIMITS), waiting: Vec::new(), names: 0, now };
        for operation in &operations {
            world.apply(operation);
            world.check();
        }
        while !world.waiting.is_empty() {
            world.apply(&Operation::Deadline);
        }
        assert_eq!(world.batcher.total(), Size::default());
    }
}

#[test]
fn what_waits_can_be_weighed_anew() {
    let now = start();
    let mut batcher = batcher(LIMITS, &[(60, 1), (60, 1), (60, 1)], now);
    assert_eq!(batcher.due(now), Some(Size { tokens: 60, records: 1, bytes: 1 }));
    batcher.weigh(|name| 40 + *name as u64);
    assert_eq!(batcher.total(), Size { tokens: 123, records: 3, bytes: 3 });
    assert_eq!(batcher.close(now).map(|batch| batch.size), Some(Size { tokens: 81, records: 2, bytes: 2 }));
    assert_eq!(batcher.total(), Size { tokens: 42, records: 1, bytes: 1 });
}
