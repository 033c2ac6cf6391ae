//! The texts of the demo, written for this project: support tickets, notes, logs and more in two dozen languages.
//!
//! Among them are updates of earlier keys, deletes, two blank records and one that the provider refuses ([`POISON`]). No person, company
//! or incident in them is real.

use serde::Deserialize;
use serde_json::json;

/// A text that holds this is refused by the demo's provider, and every batch with it.
pub const POISON: &str = "[[poison]]";

/// What the demo searches for unless told otherwise.
pub const QUERY: &str = "the customer was charged twice and wants a refund";

/// One record a line, as it is fed.
const LINES: &str = include_str!("corpus.jsonl");

/// One record of the corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorpusRecord {
    /// The key. Updates and deletes have the key of an earlier record.
    pub key: String,
    /// The document; none is a delete.
    pub document: Option<Document>,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The headline.
    pub title: String,
    /// The text.
    pub body: String,
    /// Its language, two letters.
    pub lang: String,
}

/// What becomes of a record in the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A text, embedded.
    Embedded,
    /// A delete, forwarded.
    Tombstone,
    /// Blank, skipped.
    Skipped,
    /// Refused by the provider.
    DeadLettered,
}

/// How many records meet which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Texts.
    pub embedded: usize,
    /// Deletes.
    pub tombstones: usize,
    /// Blank records.
    pub skipped: usize,
    /// Poison records.
    pub dead_lettered: usize,
}

impl Counts {
    /// All of them.
    pub fn records(self) -> usize {
        self.embedded + self.tombstones + self.skipped + self.dead_lettered
    }
}

impl CorpusRecord {
    /// The Kafka value: a JSON object with `id`, `title`, `body` and `lang`, or none for a delete.
    pub fn value(&self) -> Option<String> {
        let Document { title, body, lang } = self.document.as_ref()?;
        Some(json!({"id": self.key, "title": title, "body": body, "lang": lang}).to_string())
    }

    /// What becomes of it.
    pub fn fate(&self) -> Fate {
        match &self.document {
            None => Fate::Tombstone,
            Some(document) if document.is_blank() => Fate::Skipped,
            Some(document) if document.body.contains(POISON) => Fate::DeadLettered,
            Some(_) => Fate::Embedded,
        }
    }

    /// The same record in a later round: another key and a line more, so that no two rounds have an equal text. Blank stays blank.
    fn in_round(mut self, round: usize) -> Self {
        if round == 1 {
            return self;
        }
        self.key = format!("{}.{round}", self.key);
        if let Some(document) = &mut self.document
            && !document.is_blank()
        {
            document.body.push_str(&format!("\n\n(Round {round} of the demo.)"));
        }
        self
    }
}

impl Document {
    fn is_blank(&self) -> bool {
        self.title.trim().is_empty() && self.body.trim().is_empty()
    }

    /// The text that is embedded, where title and body are joined by an empty line.
    pub fn text(&self) -> String {
        format!("{}\n\n{}", self.title, self.body)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    #[serde(default)]
    delete: bool,
    #[serde(default)]
    title: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    lang: String,
}

/// The corpus in its order: an update or a delete comes after what it changes.
pub fn records() -> Vec<CorpusRecord> {
    let record = |line: &str| {
        let line: Line =
            serde_json::from_str(line).expect("the corpus is compiled in, and a test reads every line");
        let document = Document { title: line.title, body: line.body, lang: line.lang };
        CorpusRecord { key: line.key, document: (!line.delete).then_some(document) }
    };
    LINES.lines().map(record).collect()
}

/// The first `n` records of the corpus repeated without end. Each round has its own keys (`ticket-1001`, `ticket-1001.2`, …) and
/// slightly other texts; each full round has one poison record.
pub fn stream(n: usize) -> impl Iterator<Item = CorpusRecord> + Send {
    let records = records();
    (0..n).map(move |at| records[at % records.len()].clone().in_round(at / records.len() + 1))
}

/// What becomes of the first `n` records.
pub fn expected(n: usize) -> Counts {
    let count = |records: &[CorpusRecord]| {
        let mut counts = Counts::default();
        for record in records {
            match record.fate() {
                Fate::Embedded => counts.embedded += 1,
                Fate::Tombstone => counts.tombstones += 1,
                Fate::Skipped => counts.skipped += 1,
                Fate::DeadLettered => counts.dead_lettered += 1,
            }
        }
        counts
    };
    let records = records();
    let (rounds, rest) = (n / records.len(), count(&records[..n % records.len()]));
    let round = count(&records);
    Counts {
        embedded: round.embedded * rounds + rest.embedded,
        tombstones: round.tombstones * rounds + rest.tombstones,
        skipped: round.skipped * rounds + rest.skipped,
        dead_lettered: round.dead_lettered * rounds + rest.dead_lettered,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::simulator::request::count as tokens;
    use crate::simulator::vectors::{embed, nearness};

    /// The last text of each key, as a sink would hold it.
    fn held(records: &[CorpusRecord]) -> BTreeMap<String, Document> {
        let mut held = BTreeMap::new();
        for record in records {
            match (&record.document, record.fate()) {
                (Some(document), Fate::Embedded) => drop(held.insert(record.key.clone(), document.clone())),
                (None, _) => drop(held.remove(&record.key)),
                _ => {}
            }
        }
        held
    }

    fn nearest(query: &str, records: &[CorpusRecord]) -> Vec<(f32, String, Document)> {
        let query = embed(query, 2560);
        let mut found: Vec<_> = held(records)
            .into_iter()
            .map(|(key, document)| (nearness(&query, &embed(&document.text(), 2560)), key, document))
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found
    }

    #[test]
    fn it_holds_what_the_demo_needs() {
        let records = records();
        let counts = expected(records.len());
        assert_eq!(counts.records(), records.len());
        assert!(records.len() >= 320);
        assert_eq!((counts.tombstones, counts.skipped, counts.dead_lettered), (6, 2, 1));
        let mut seen = BTreeSet::new();
        let mut updates = 0;
        for record in &records {
            let new = seen.insert(record.key.clone());
            updates += usize::from(!new && record.document.is_some());
            assert!(record.document.is_some() || !new, "{} deletes what never was", record.key);
        }
        assert_eq!(updates, 21);
        let languages: BTreeSet<_> =
            records.iter().filter_map(|r| r.document.as_ref().map(|d| &d.lang)).collect();
        assert!(languages.len() >= 20, "{languages:?}");
        let foreign = records.iter().filter(|r| r.document.as_ref().is_some_and(|d| d.lang != "en")).count();
        assert!(foreign >= 30, "{foreign}");
    }

    #[test]
    fn lengths_vary_within_bounds() {
        let mut lengths: Vec<u64> = records()
            .iter()
            .filter(|record| record.fate() == Fate::Embedded)
            .filter_map(|record| record.document.as_ref().map(|document| tokens(&document.text())))
            .collect();
        lengths.sort_unstable();
        let (shortest, middle, longest) =
            (lengths[0], lengths[lengths.len() / 2], lengths[lengths.len() - 1]);
        assert!(shortest >= 15 && longest <= 300, "{shortest} {middle} {longest}");
        assert!(shortest <= 25 && longest >= 180, "{shortest} {middle} {longest}");
    }

    #[test]
    fn no_two_texts_are_nearly_the_same() {
        let held: Vec<_> = held(&records()).into_iter().map(|(key, d)| (key, embed(&d.body, 2560))).collect();
        for (at, (key, vector)) in held.iter().enumerate() {
            for (other, near) in &held[at + 1..] {
                let nearness = nearness(vector, near);
                assert!(nearness < 0.6, "{key} and {other}: {nearness}");
            }
        }
    }

    #[test]
    fn the_query_finds_a_record_about_it() {
        for rounds in [1, 3] {
            let records: Vec<_> = stream(rounds * records().len()).collect();
            let found = nearest(QUERY, &records);
            let best = &found[0];
            assert!(best.2.body.contains("charged twice") && best.2.body.contains("refund"), "{best:?}");
            assert!(best.0 > 0.35, "{best:?}");
            assert!(best.1.starts_with("ticket-1001"), "{best:?}");
            let beside = found.iter().find(|(_, key, _)| !key.starts_with("ticket-1001")).map(|hit| hit.0);
            assert!(best.0 > beside.unwrap_or(1.0) + 0.05, "a clear first: {:?}", &found[..4]);
        }
    }

    #[test]
    fn other_queries_find_theirs() {
        for (query, key) in [
            ("camera crash on a tablet", "ticket-4001"),
            ("how do I descale a kettle", "product-101"),
            ("certificate expired", "log-7005"),
            ("Passwort neues Telefon anmelden", "ticket-de-2"),
            ("カードに二重に請求", "ticket-ja-1"),
            ("扣了两次款", "ticket-zh-1"),
            ("deadlock while updating order lines", "log-7008"),
            ("plants arrived frozen", "ticket-3012"),
        ] {
            let found = nearest(query, &records());
            let first: Vec<_> = found.iter().take(3).map(|(near, key, _)| (near, key)).collect();
            assert!(first.iter().any(|(_, found)| *found == key), "{query}: {first:?}");
        }
    }

    #[test]
    fn values_are_json_objects() {
        for record in records() {
            let Some(value) = record.value() else { continue };
            let value: serde_json::Value = serde_json::from_str(&value).unwrap();
            assert_eq!(value["id"], record.key);
            assert_eq!(value["body"], record.document.unwrap().body);
        }
    }

    #[test]
    fn rounds_differ_in_keys_and_texts() {
        let length = records().len();
        let fed: Vec<_> = stream(2 * length + 100).collect();
        assert_eq!(fed.len(), 2 * length + 100);
        assert_eq!(fed[..length], records());
        let values: BTreeSet<_> = fed.iter().filter_map(CorpusRecord::value).collect();
        let documents = fed.iter().filter(|record| record.document.is_some()).count();
        assert_eq!(values.len(), documents, "every value is another");
        let keys = |part: &[CorpusRecord]| part.iter().map(|r| r.key.clone()).collect::<BTreeSet<_>>();
        assert!(keys(&fed[..length]).is_disjoint(&keys(&fed[length..2 * length])));
        for n in [0, 1, 50, length, length + 1, 2 * length + 100] {
            let mut counts = Counts::default();
            for record in &fed[..n] {
                match record.fate() {
                    Fate::Embedded => counts.embedded += 1,
                    Fate::Tombstone => counts.tombstones += 1,
                    Fate::Skipped => counts.skipped += 1,
                    Fate::DeadLettered => counts.dead_lettered += 1,
                }
            }
            assert_eq!(expected(n), counts, "{n}");
        }
        assert_eq!(expected(2 * length).dead_lettered, 2);
    }
}
