//! Kafka in, vectors out: text records from a topic, batched by tokens, embedded, published to another topic.
//!
//! This page is the map of the house: what the rooms are, which way a record takes through them, and what is nowhere. The README
//! says what is promised; each module says what it owns and what it never does.
//!
//! # The line
//!
//! ```text
//!  kafka::source ──▶ input ──▶ pipeline: batcher ⇄ gate ──▶ provider::client
//!  the poll thread:  bytes to  one loop owns all state            │ HTTP, then CPU work beside
//!  owns the          text and                                     ▼
//!  consumer          tokens    pipeline: ledger ◀──────────── output: outcome to record
//!       ▲                         │        │ ▲
//!       │      positions (watch)  │        ▼ │ acknowledgements
//!       └─────────────────────────┘     kafka::sink
//! ```
//!
//! 1. [`kafka::source`] polls each assigned partition's own queue, while the memory budget ([`kafka::budget`]) has room. For each
//!    record it calls [`input`], which finds the text and counts its tokens ([`domain::tokens`]). What the thread knows leaves as
//!    one enum, [`kafka::event::Event`], on a channel; it never waits for the loop.
//! 2. [`pipeline`] opens a slot for the record in the ledger ([`domain::ledger`]). A text goes on to the batcher
//!    ([`domain::batcher`]). A tombstone, a blank text and an unreadable value have their outcome already.
//! 3. A batch is closed late: when it is full or has lingered, *and* the gate ([`provider::gate`]) admits it (requests, tokens, slots,
//!    hold-off). So records wait in one place, and congestion fills batches.
//! 4. A task sends it ([`provider::client`]), gives its slot back with the last byte, then reads and validates the answer and encodes
//!    the outputs ([`output`]) beside the runtime's threads.
//! 5. What failed is classified once, where it is born ([`provider::triage`]). The loop acts on that verdict: the same bytes again
//!    ([`domain::retry`]), a smaller batch, the bad record sought by halves ([`domain::bisect`]), or a suspension that is probed with a
//!    harmless text until it heals.
//! 6. The ledger says which outcomes may be published now (`order: key | partition | none`); [`kafka::sink`] queues them and
//!    answers by a channel.
//! 7. An acknowledgement settles the slot and frees its bytes. The position of a partition is behind its settled prefix; it goes back
//!    to the poll thread by a `watch`, latest wins, and is committed on a thread that waits for the answer.
//!
//! A revoke drops what was not sent, waits for what was (`revoke_deadline`), commits and lets go. A lost partition is dropped whole. Each
//! assignment has its own [`Generation`](domain::record::Generation), so late work is known and thrown away. SIGTERM is the largest
//! revoke, and also tries again what failed and lies before paid work.
//!
//! # The rooms, from the top; who is above may look down, never up
//!
//! | room | owns |
//! |---|---|
//! | [`cli`] | the commands, what they print, the exit codes |
//! | [`worker`] | builds the parts from the settings, wires them, drains |
//! | [`pipeline`] | the loop, and all state that changes |
//! | [`kafka`] | client settings, the poll thread, the producer, what is asked before the start |
//! | [`provider`] | the trait `Embedder`, the HTTP client, bodies, triage, the gate |
//! | [`input`], [`output`] | bytes to text; outcome to bytes |
//! | [`admin`] | `/metrics`, `/livez`, `/readyz`, `/status` |
//! | [`signals`] | SIGTERM, SIGINT, the panic hook, the end that nothing can stop |
//! | [`simulator`] | a provider with limits and faults, an embedded broker, texts: for the demo and the tests |
//! | [`config`], [`metrics`] | every setting; every instrument |
//! | [`domain`] | the decisions: records, tokens, batcher, ledger, bisecting, retry |
//!
//! `tidy.rs` tests the arrows, and that there is no circle.
//!
//! # What is nowhere
//!
//! - [`domain`] knows no clock, no I/O and no async: `now` is passed in. That is what makes a seed of the simulation replay.
//! - `kafka` and `provider` never see each other.
//! - Nobody but the ledger decides what is committed, and the only `+ 1` to an offset is
//!   [`Position::after`](domain::record::Position::after).
//! - The loop awaits no send and no call. Nothing waits upstream, so the memory budget cannot deadlock.
//! - No log line, error, metric or `Debug` output holds a key or a record's text.
//! - There is no `unsafe`, no mutable global but a flag of the log and one of the panic hook, and no trait for a clock: tests pause
//!   tokio's.
//!
//! # Where to begin reading
//!
//! [`domain::ledger`] and its laws (`domain/ledger/tests/model.rs`), then [`pipeline`], then `pipeline/simulation.rs`, which holds the
//! whole line to its promises in random worlds, one a seed.
//!
//! # How to add
//!
//! - A metric: one line with its help text in [`metrics`], and its name in `metrics/names.txt`.
//! - A setting: a field with its default in its section's struct ([`config`]), its line in `deploy/config.yaml`, and a check where it can
//!   contradict another. Tests compare the file with the code.
//! - An error of a provider: a row in `provider/triage/rows.rs`, and the recorded answer that it is for.

pub mod admin;
pub mod cli;
pub mod config;
pub mod domain;
pub mod input;
pub mod kafka;
pub mod metrics;
pub mod output;
pub mod pipeline;
pub mod provider;
pub mod signals;
pub mod simulator;
pub mod worker;

#[cfg(test)]
mod tidy;
