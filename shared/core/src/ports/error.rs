//! How a port fails.

use std::fmt;
use std::sync::Arc;

/// Result of a port call.
pub type PortResult<T> = Result<T, PortError>;

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Why a port did not do what it was asked. What matters to a caller is whether the call may have taken effect and
/// whether it is worth another try.
#[derive(Debug, Clone)]
pub enum PortError {
    /// Certainly not done; another try may succeed (throttled, refused, no connection).
    Unavailable(Source),
    /// Perhaps done, perhaps not: no answer came (timed out, connection lost).
    Ambiguous(Source),
    /// Certainly not done, and no further try of the same call can succeed (too large, not accepted).
    Rejected(Source),
}

impl PortError {
    /// Certainly not done; try again.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(Arc::from(source.into()))
    }

    /// Perhaps done; nobody knows.
    pub fn ambiguous(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Ambiguous(Arc::from(source.into()))
    }

    /// Will never be done.
    pub fn rejected(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Rejected(Arc::from(source.into()))
    }

    /// Whether another try may succeed.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Rejected(_))
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, source) = match self {
            Self::Unavailable(source) => ("unavailable", source),
            Self::Ambiguous(source) => ("no answer", source),
            Self::Rejected(source) => ("rejected", source),
        };
        write!(f, "{what}: {source}")
    }
}

impl std::error::Error for PortError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unavailable(source) | Self::Ambiguous(source) | Self::Rejected(source) => Some(&**source),
        }
    }
}
