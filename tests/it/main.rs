//! One binary for all integration tests: one link, and one shared broker.
//!
//! A test that talks to Kafka takes a `&Broker` and is listed in [`on_each_broker!`](support::on_each_broker): it then
//! runs against librdkafka's mock cluster and against a real Apache Kafka.

mod support;

mod answers;
mod away;
mod backlog;
mod bad;
mod bounded;
mod brokers;
mod demo;
mod fuzz;
mod limits;
mod line;
mod load;
mod outages;
mod seen;
mod servers;
mod tokens;
