//! A stream of documents: keyed JSON of about a kilobyte, updates of earlier keys, deletes, some poison.

use super::records::Outgoing;

/// The mark of a text that makes the provider refuse its whole batch.
pub(crate) const POISON: &str = "[[poison]]";

/// A fault script's rules: a poison fails its whole batch, in a way that tells nothing of it.
pub(crate) const REFUSES_POISON: &str = r#"
  - when: {contains: "[[poison]]"}
    then: {status: 400, body: {code: 20015, message: "The parameter is invalid. Please check again.", data: null}}
"#;
/// One call in ten fails for another reason. These rules come after those of poison.
pub(crate) const FAILS_ONE_IN_TEN: &str = r"
  - when: {probability: 0.034}
    then: {status: 429, retry_after: 1}
  - when: {probability: 0.034}
    then: {status: 500}
  - when: {probability: 0.034}
    then: {reset: true}
";

const WORDS: [&str; 40] = [
    "ledger", "window", "payment", "invoice", "river", "stone", "signal", "shipping", "customer", "refund",
    "battery", "screen", "printer", "network", "latency", "offset", "garden", "harvest", "winter", "summer",
    "bridge", "harbour", "engine", "valve", "pressure", "contract", "renewal", "meeting", "schedule",
    "teacher", "lesson", "hospital", "doctor", "recipe", "pepper", "kitchen", "forest", "path", "mountain",
    "valley",
];

/// What the stream is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) records: usize,
    /// About so many bytes a value.
    pub(crate) bytes: usize,
    /// One record in so many is poison; 0: none.
    pub(crate) poison_every: usize,
    pub(crate) seed: u64,
}

impl Stream {
    /// The records: one in ten updates an earlier key, one in a hundred deletes one. Poison has a key, a header and a value that
    /// must come through untouched.
    pub(crate) fn outgoing(self) -> impl Iterator<Item = Outgoing> {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut keys = 0_usize;
        (0..self.records).map(move |n| {
            let poison = self.poison_every > 0 && n % self.poison_every == self.poison_every / 2;
            let old = keys > 0 && rng.usize(..100) < 11;
            let key = if old {
                rng.usize(..keys)
            } else {
                keys += 1;
                keys - 1
            };
            let name = format!("document {key}");
            // 1 of the 11 in a hundred that name an earlier key.
            if old && !poison && rng.usize(..11) == 0 {
                return Outgoing::tombstone(name);
            }
            let value = document(&mut rng, n, self.bytes, poison);
            Outgoing::new(name, value).header("trace", Some(format!("t{n}").as_bytes()))
        })
    }

    /// How many poison records there are.
    pub(crate) fn poison(self) -> usize {
        if self.poison_every == 0 {
            return 0;
        }
        (0..self.records).filter(|n| n % self.poison_every == self.poison_every / 2).count()
    }
}

fn document(rng: &mut fastrand::Rng, n: usize, bytes: usize, poison: bool) -> String {
    let mut body = String::with_capacity(bytes);
    while body.len() + 80 < bytes {
        body.push_str(WORDS[rng.usize(..WORDS.len())]);
        body.push(' ');
    }
    let mark = if poison { POISON } else { "plain" };
    serde_json::json!({"id": n, "title": format!("Note {n}: {mark}"), "body": body}).to_string()
}
