//! How a command ends: the codes are those of BSD's `sysexits.h`, and a contract.

use thiserror::Error;

use crate::config::ConfigError;
use crate::input::counting::CountingError;
use crate::kafka::preflight::PreflightError;
use crate::pipeline::Ended;
use crate::provider::SuspendReason;
use crate::provider::client::ClientError;
use crate::signals;
use crate::worker::StartError;

/// The command line is wrong.
pub(super) const USAGE: u8 = 64;
/// Brokers, topics, provider or an address are not available at the start.
const UNAVAILABLE: u8 = 69;
/// The settings are wrong.
const CONFIG: u8 = 78;

/// Why a command did not do what it was asked.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// Arguments that contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The settings.
    #[error("{0}")]
    Config(String),
    /// What is outside.
    #[error("{0}")]
    Unavailable(String),
    /// What is inside.
    #[error("{0}")]
    Internal(String),
    /// What a command has printed already.
    #[error("{failed} of {} checks failed", failed + passed)]
    Checks {
        /// Failures.
        failed: usize,
        /// Successes.
        passed: usize,
        /// The first failure's code.
        code: u8,
    },
    /// A drain that did not end within its time.
    #[error(
        "the drain was cut short: what had not finished within shutdown_deadline is done again at the next start"
    )]
    CutShort,
    /// A bounded run that was told to end.
    #[error(
        "told to end before everything was done that was in the input topics at the start; the next run does the rest"
    )]
    Unfinished,
}

impl Failure {
    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Config(_) => CONFIG,
            Self::Unavailable(_) => UNAVAILABLE,
            Self::Internal(_) => code(signals::INTERNAL),
            Self::Checks { code, .. } => *code,
            Self::CutShort | Self::Unfinished => code(signals::CUT_SHORT),
        }
    }

    /// What the end of the line means for the process.
    pub(super) fn of(ended: Ended) -> Result<(), Self> {
        match ended {
            Ended::Drained => Ok(()),
            Ended::CutShort => Err(Self::CutShort),
            Ended::Fatal(message) => Err(Self::Internal(format!("the Kafka client cannot go on: {message}"))),
            Ended::Misconfigured(why, message) => Err(Self::refused(why, &message)),
        }
    }

    /// What the provider says against the settings.
    pub(super) fn refused(why: SuspendReason, message: &str) -> Self {
        let text = format!("the provider: {message}; {}", advice(why));
        match why {
            SuspendReason::Unreachable | SuspendReason::Timeout => Self::Unavailable(text),
            _ => Self::Config(text),
        }
    }
}

/// What to do about it.
pub(super) fn advice(why: SuspendReason) -> &'static str {
    match why {
        SuspendReason::Unauthorized => {
            "check the key: EMBEDSTREAM__PROVIDER__API_KEY, provider.api_key_file or OPENROUTER_API_KEY"
        }
        SuspendReason::PaymentRequired => {
            "the account has no credit left: add some, or raise the key's limit"
        }
        SuspendReason::Forbidden => "the key may not do this: check its rights, the model and the region",
        SuspendReason::NotFound => "check provider.url and provider.model",
        SuspendReason::Redirect => "redirects are not followed: set provider.url to the final address",
        SuspendReason::WrongDimensions => "set provider.dimensions to what the model gives, or to less",
        SuspendReason::MalformedResponse => "check that provider.url is an OpenAI-compatible embeddings API",
        SuspendReason::Unreachable => "check provider.url, the network and the provider's status",
        SuspendReason::Timeout => "check the network and the provider's status, or raise provider.timeout",
        SuspendReason::BadRequest => "check provider.model, provider.dimensions and provider.body",
        SuspendReason::DeadLetterRate => "look at the dead letters, then at retry.dead_letter_cap",
        SuspendReason::Budget => "wait for the next period, or raise the limit",
        SuspendReason::OutputRefused => "check the output topics, their limits and the rights to write",
    }
}

/// The codes are below 256; the standard library takes them as `u8`, the exit of a process as `i32`.
fn code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(u8::MAX)
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Setup(ref cause) => Self::Unavailable(format!("{error}: {cause}")),
            _ => Self::Config(error.to_string()),
        }
    }
}

impl From<CountingError> for Failure {
    fn from(error: CountingError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<PreflightError> for Failure {
    fn from(error: PreflightError) -> Self {
        match error {
            PreflightError::Unreachable { .. } | PreflightError::Topic { .. } => {
                Self::Unavailable(error.to_string())
            }
            PreflightError::Settings(_) | PreflightError::Partitions { .. } => {
                Self::Config(error.to_string())
            }
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Preflight(error) => error.into(),
            StartError::Backlog(_) => Self::Unavailable(error.to_string()),
            StartError::Kafka(_) => Self::Config(error.to_string()),
            StartError::CutOff => Self::Internal(error.to_string()),
        }
    }
}
