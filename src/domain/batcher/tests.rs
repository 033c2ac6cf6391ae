//! Laws of the batcher.
