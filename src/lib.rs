//! Kafka in, vectors out: text records from a topic, batched by tokens, embedded, published to another topic.

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
