//! The pure decisions: no I/O, no clock (`now` is passed in), no async, no globals.
//!
//! Nothing here imports anything of the crate outside `domain`; a test says so.

pub mod batcher;
pub mod bisect;
pub mod caps;
pub mod estimate;
pub mod ledger;
pub mod length;
pub mod rate;
pub mod record;
pub mod retry;
pub mod tokens;
