//! The ledger.

/// What order the outputs keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Per key, within its partition.
    #[default]
    Key,
    /// The whole partition's.
    Partition,
    /// None.
    None,
}
