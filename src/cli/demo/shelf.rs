//! What the output topic holds: the newest vector of each key, as a vector database would hold it, and how near it is to the query.
//!
//! Only the nearness and the title are kept, so that memory grows by some hundred bytes a key.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::latencies::Latencies;
use crate::simulator::vectors::nearness;

/// Dead letters that are kept to be shown; the others are counted.
const SHOWN_LETTERS: usize = 100;

/// A title that is longer is cut, in bytes.
const TITLE: usize = 200;

/// What the topics hold, as far as they have been read.
#[derive(Debug)]
pub(super) struct Shelf {
    query: Vec<f32>,
    held: BTreeMap<Vec<u8>, Held>,
    /// Embeddings read.
    pub(super) embedded: u64,
    /// Tombstones read.
    pub(super) tombstones: u64,
    /// Dead letters read.
    pub(super) dead_lettered: u64,
    /// Values that are not what the worker writes.
    pub(super) unreadable: u64,
    /// The first dead letters.
    pub(super) letters: Vec<Letter>,
    /// From the timestamp of an input record to the timestamp of its output.
    pub(super) latencies: Latencies,
}

#[derive(Debug)]
struct Held {
    score: f32,
    title: String,
}

/// A dead letter, and what its headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    /// The record's key.
    pub(super) key: String,
    /// Why.
    pub(super) reason: String,
    /// What the provider said.
    pub(super) message: String,
    /// In how many calls it was.
    pub(super) attempts: String,
}

/// A record that is near the query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Hit {
    /// The record's key.
    pub(super) key: String,
    /// The cosine of the two vectors, at most 1.
    pub(super) score: f64,
    /// The first line of its text.
    pub(super) title: String,
}

/// The fields of an output value that are looked at.
#[derive(Deserialize)]
struct Value<'a> {
    vector: Vec<f32>,
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow)]
    source: Source<'a>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
}

impl Shelf {
    /// An empty shelf, and what is looked for: a vector of norm 1.
    pub(super) fn new(query: Vec<f32>) -> Self {
        Self {
            query,
            held: BTreeMap::new(),
            embedded: 0,
            tombstones: 0,
            dead_lettered: 0,
            unreadable: 0,
            letters: Vec::new(),
            latencies: Latencies::default(),
        }
    }

    /// Takes in a record of the output topic; `published` is its timestamp in milliseconds.
    pub(super) fn take(&mut self, key: &[u8], value: Option<&[u8]>, published: Option<i64>) {
        let Some(value) = value else {
            self.tombstones += 1;
            self.held.remove(key);
            return;
        };
        self.embedded += 1;
        let value = match serde_json::from_slice::<Value<'_>>(value) {
            Ok(value) if value.vector.len() == self.query.len() => value,
            _ => {
                self.unreadable += 1;
                return;
            }
        };
        if let (Some(published), Some(fed)) = (published, value.source.timestamp.and_then(milliseconds)) {
            self.latencies.add(u64::try_from(published - fed).unwrap_or(0));
        }
        let mut title = value.text.lines().next().unwrap_or_default().to_owned();
        title.truncate(title.floor_char_boundary(TITLE));
        let held = Held { score: nearness(&self.query, &value.vector), title };
        self.held.insert(key.to_vec(), held);
    }

    /// Takes in a record of the dead-letter topic.
    pub(super) fn take_letter(&mut self, letter: impl FnOnce() -> Letter) {
        self.dead_lettered += 1;
        if self.letters.len() < SHOWN_LETTERS {
            self.letters.push(letter());
        }
    }

    /// Records read, of both topics.
    pub(super) fn read(&self) -> u64 {
        self.embedded + self.tombstones + self.dead_lettered
    }

    /// Keys with a vector.
    pub(super) fn keys(&self) -> usize {
        self.held.len()
    }

    /// The nearest records, the nearest first. Of records with the same title (the rounds of the corpus) only the nearest is named.
    pub(super) fn nearest(&self, most: usize) -> Vec<Hit> {
        let mut best = BTreeMap::<&str, (f32, &[u8])>::new();
        for (key, held) in &self.held {
            let found = best.entry(&held.title).or_insert((held.score, key));
            if held.score > found.0 {
                *found = (held.score, key);
            }
        }
        let mut best: Vec<_> = best.into_iter().collect();
        best.sort_by(|one, other| other.1.0.total_cmp(&one.1.0));
        let hit = |(title, (score, key)): (&str, (f32, &[u8]))| Hit {
            key: String::from_utf8_lossy(key).into_owned(),
            score: (f64::from(score) * 1e4).round() / 1e4,
            title: title.to_owned(),
        };
        best.into_iter().take(most).map(hit).collect()
    }
}

fn milliseconds(rfc3339: Cow<'_, str>) -> Option<i64> {
    let time = humantime::parse_rfc3339(&rfc3339).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(vector: [f32; 2], text: &str) -> Vec<u8> {
        let timestamp = "1970-01-01T00:00:01.500Z";
        let source = serde_json::json!({"topic": "t", "partition": 0, "offset": 1, "timestamp": timestamp});
        serde_json::json!({"id": "i", "vector": vector, "text": text, "source": source}).to_string().into()
    }

    fn keys(shelf: &Shelf) -> Vec<String> {
        shelf.nearest(10).into_iter().map(|hit| hit.key).collect()
    }

    #[test]
    fn the_last_value_of_a_key_counts_and_a_tombstone_takes_it_away() {
        let mut shelf = Shelf::new(vec![1.0, 0.0]);
        shelf.take(b"a", Some(&value([0.6, 0.8], "a \"title\"\n\nbody")), Some(1_750));
        shelf.take(b"b", Some(&value([0.8, 0.6], "b")), Some(1_600));
        shelf.take(b"c", Some(&value([0.0, 1.0], "c")), None);
        assert_eq!(keys(&shelf), ["b", "a", "c"]);
        let hit = &shelf.nearest(2)[1];
        assert_eq!((hit.score, hit.title.as_str()), (0.6, "a \"title\""));
        shelf.take(b"a", Some(&value([1.0, 0.0], "a newer")), Some(1_400));
        assert_eq!(keys(&shelf), ["a", "b", "c"]);
        shelf.take(b"a", None, None);
        shelf.take(b"never seen", None, None);
        assert_eq!(keys(&shelf), ["b", "c"]);
        assert_eq!((shelf.embedded, shelf.tombstones, shelf.keys(), shelf.read()), (4, 2, 2, 6));
        assert_eq!(shelf.latencies.percentile(1.0), 250);
        assert_eq!(shelf.latencies.percentile(0.01), 0, "clocks that run back count as nothing");
    }

    #[test]
    fn of_one_title_only_the_nearest_is_named() {
        let mut shelf = Shelf::new(vec![1.0, 0.0]);
        for (key, x) in [("k", 0.6), ("k.2", 0.9), ("k.3", 0.1), ("other", 0.5)] {
            let title = if key == "other" { "another" } else { "the same" };
            shelf.take(key.as_bytes(), Some(&value([x, 0.0], title)), None);
        }
        assert_eq!(keys(&shelf), ["k.2", "other"]);
    }

    #[test]
    fn what_the_worker_never_writes_is_counted_and_not_held() {
        let mut shelf = Shelf::new(vec![1.0, 0.0]);
        for bad in [&b"{"[..], b"\xff", b"{}", br#"{"vector": [1], "text": "", "source": {}}"#] {
            shelf.take(b"k", Some(bad), None);
        }
        assert_eq!((shelf.unreadable, shelf.embedded, shelf.keys()), (4, 4, 0));
    }

    #[test]
    fn letters_are_counted_beyond_those_that_are_shown() {
        let mut shelf = Shelf::new(Vec::new());
        let letter = || Letter {
            key: "k".to_owned(),
            reason: "rejected".to_owned(),
            message: String::new(),
            attempts: String::new(),
        };
        (0..SHOWN_LETTERS + 7).for_each(|_| shelf.take_letter(letter));
        assert_eq!((shelf.letters.len(), shelf.dead_lettered), (SHOWN_LETTERS, SHOWN_LETTERS as u64 + 7));
    }
}
