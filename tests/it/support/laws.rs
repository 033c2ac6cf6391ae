//! What must be true of the topics when the line is done, read from the topics alone.

use std::collections::{BTreeMap, BTreeSet};

use super::records::Received;
use super::stream::POISON;

/// What the output of one input record is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Output {
    Vector(i32, i64),
    Tombstone,
}

/// What was found beside the laws being kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) vectors: usize,
    pub(crate) tombstones: usize,
    pub(crate) dead_letters: usize,
    /// Outputs and dead letters beyond the first of a record.
    pub(crate) repeated: usize,
}

/// In what order outputs must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Per key.
    Key,
    /// Per partition of the input.
    Partition,
    /// None.
    Nothing,
}

/// Every record of `inputs` has its outcome: a poison is a dead letter with key, value and headers untouched, a tombstone a tombstone, all
/// else a vector. In the order that is promised: an output may be followed by one that came before it (repeated after a
/// crash), but nothing is ever left out on the way, and the last output is the newest input's.
///
/// # Panics
/// When a law is broken, saying where.
pub(crate) fn check(
    inputs: &[Received],
    outputs: &[Received],
    letters: &[Received],
    promise: Promise,
) -> Seen {
    let is_poison = |record: &Received| {
        record.value.as_deref().is_some_and(|value| String::from_utf8_lossy(value).contains(POISON))
    };
    let mut seen = Seen::default();
    // What is expected in each queue that has an order.
    let mut expected: BTreeMap<Vec<u8>, Vec<Output>> = BTreeMap::new();
    let mut wanted_letters: BTreeMap<(i32, i64), &Received> = BTreeMap::new();
    for record in inputs {
        if is_poison(record) {
            wanted_letters.insert((record.partition, record.offset), record);
            continue;
        }
        let output = match record.value {
            None => Output::Tombstone,
            Some(_) => Output::Vector(record.partition, record.offset),
        };
        expected.entry(queue(record, promise, record.partition)).or_default().push(output);
    }
    let mut found: BTreeMap<Vec<u8>, Vec<Output>> = BTreeMap::new();
    for record in outputs {
        let output = if record.value.is_some() {
            let value = record.json();
            let source = &value["source"];
            seen.vectors += 1;
            assert_eq!(value["vector"].as_array().map(Vec::len), Some(64), "the vector has its dimensions");
            let partition = source["partition"].as_i64().expect("a partition");
            Output::Vector(
                i32::try_from(partition).expect("a partition"),
                source["offset"].as_i64().expect("an offset"),
            )
        } else {
            seen.tombstones += 1;
            Output::Tombstone
        };
        // With `order: partition` the output partition is the input's.
        found.entry(queue(record, promise, record.partition)).or_default().push(output);
    }
    assert_eq!(
        found.keys().collect::<BTreeSet<_>>(),
        expected.keys().collect::<BTreeSet<_>>(),
        "the same keys come out as went in"
    );
    for (name, expected) in &expected {
        let found = &found[name];
        seen.repeated += found.len().saturating_sub(expected.len());
        if promise == Promise::Nothing {
            for output in expected {
                assert!(found.contains(output), "{}: {output:?} is missing", String::from_utf8_lossy(name));
            }
        } else {
            in_order(&String::from_utf8_lossy(name), expected, found);
        }
    }
    seen.repeated += dead_letters(letters, &mut wanted_letters);
    seen.dead_letters = letters.len();
    seen
}

fn queue(record: &Received, promise: Promise, partition: i32) -> Vec<u8> {
    match promise {
        Promise::Partition => partition.to_string().into_bytes(),
        Promise::Key | Promise::Nothing => record.key.clone().expect("these records have keys"),
    }
}

/// Follows all readings at once, as tombstones look alike: after each output, the places in the input where it may stand.
fn in_order(name: &str, expected: &[Output], found: &[Output]) {
    // Nothing yet: the next is the first.
    let mut places: BTreeSet<usize> = BTreeSet::new();
    let mut furthest = 0;
    for (n, output) in found.iter().enumerate() {
        let reach = if n == 0 { 0 } else { furthest + 1 };
        // An output stands where it may: not beyond the one after the furthest so far.
        let may: BTreeSet<usize> =
            (0..expected.len()).filter(|place| *place <= reach && expected[*place] == *output).collect();
        let forward: BTreeSet<usize> = may
            .iter()
            .copied()
            // The next one, or a return to any earlier one.
            .filter(|place| n == 0 || places.iter().any(|before| *place == before + 1 || place <= before))
            .collect();
        assert!(
            !forward.is_empty(),
            "{name}: output {n} is {output:?}, after {places:?} of {expected:?}: {found:?}"
        );
        furthest = furthest.max(*forward.last().expect("not empty"));
        places = forward;
    }
    assert!(
        places.contains(&(expected.len() - 1)),
        "{name}: the last output is not the newest input's: {found:?} of {expected:?}"
    );
}

/// How many are repeated.
fn dead_letters(letters: &[Received], wanted: &mut BTreeMap<(i32, i64), &Received>) -> usize {
    let mut seen = BTreeSet::new();
    for letter in letters {
        let number = |name: &str| -> i64 {
            letter.header(name).expect("dead letters say where they are from").parse().expect("a number")
        };
        let partition = number("embedstream-error-partition");
        let place = (i32::try_from(partition).expect("a partition"), number("embedstream-error-offset"));
        let record =
            wanted.get(&place).unwrap_or_else(|| panic!("{place:?} is no poison, and dead-lettered"));
        assert_eq!(letter.key, record.key, "the key is untouched");
        assert_eq!(letter.value, record.value, "the value is untouched");
        assert_eq!(letter.headers[..record.headers.len()], record.headers[..], "the headers are untouched");
        assert_eq!(letter.header("embedstream-error-reason"), Some("rejected"));
        seen.insert(place);
    }
    assert_eq!(seen.len(), wanted.len(), "every poison is a dead letter");
    letters.len() - seen.len()
}
