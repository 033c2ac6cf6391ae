//! What a call's records are accused of, and how sure that is.

use std::time::Duration;

use super::work::Work;
use crate::domain::record::RejectReason;
use crate::provider::SuspendReason;

/// What a call's records are accused of.
#[derive(Clone, Debug)]
pub(super) struct Charge {
    pub(super) reason: RejectReason,
    /// What the worker says if the canary fails as well.
    pub(super) otherwise: SuspendReason,
    pub(super) message: String,
    /// How sure the answer is that a record is bad.
    pub(super) doubt: Doubt,
}

/// Whether a good record may get an answer as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Not while others are answered.
    Slight,
    /// Now and then.
    Some,
    /// It speaks of the settings or of access, and one upstream server of several may be set up wrong.
    Grave,
}

impl Doubt {
    /// So often a record is refused alone, each time with a success after it, before it is found guilty. What a search found was refused in the
    /// calls before, unless these were few and the answer is doubtful.
    pub(super) fn refusals(self) -> u32 {
        match self {
            Self::Slight | Self::Some => 3,
            Self::Grave => 6,
        }
    }

    /// For how long it is refused at least.
    pub(super) fn time(self) -> Duration {
        match self {
            Self::Slight | Self::Some => Duration::ZERO,
            Self::Grave => Duration::from_secs(30),
        }
    }

    /// How many of them a search makes up for.
    pub(super) fn searched(self) -> u32 {
        if self == Self::Slight { self.refusals() } else { 1 }
    }
}

/// Work that may be guilty. It waits for the success of a call that was sent after its error came: an older one may be from before an
/// outage that refuses everything, in whatever words.
pub(super) struct Accused {
    pub(super) work: Work,
    pub(super) charge: Charge,
    /// The last call that was sent before.
    pub(super) after: u64,
}
