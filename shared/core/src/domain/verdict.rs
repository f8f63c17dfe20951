//! The verdict on a click: `valid`, or the first reason why not.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a click is judged to be. The list is closed, and its order is the order of precedence: the first reason that
/// applies is the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Verdict {
    /// Counted, and paid for.
    Valid = 0,
    /// The browser fetched ahead; nobody has clicked yet.
    Prefetch = 1,
    /// No impression token came with the click.
    MissingToken = 2,
    /// The token is not ours, was changed, or is another ad's.
    BadToken = 3,
    /// The token was good once.
    ExpiredToken = 4,
    /// The ad is paused or archived.
    InactiveAd = 5,
    /// A known robot, or no user agent at all.
    Bot = 6,
    /// Too many clicks from one client (reserved).
    RateLimited = 7,
    /// The impression's one valid click is another's.
    Duplicate = 8,
}

impl Verdict {
    /// Every verdict, in order of precedence.
    pub const ALL: [Verdict; 9] = [
        Verdict::Valid,
        Verdict::Prefetch,
        Verdict::MissingToken,
        Verdict::BadToken,
        Verdict::ExpiredToken,
        Verdict::InactiveAd,
        Verdict::Bot,
        Verdict::RateLimited,
        Verdict::Duplicate,
    ];

    /// Its name in records, columns and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Prefetch => "prefetch",
            Verdict::MissingToken => "missing_token",
            Verdict::BadToken => "bad_token",
            Verdict::ExpiredToken => "expired_token",
            Verdict::InactiveAd => "inactive_ad",
            Verdict::Bot => "bot",
            Verdict::RateLimited => "rate_limited",
            Verdict::Duplicate => "duplicate",
        }
    }

    /// Whether the click is counted as valid.
    pub fn is_valid(self) -> bool {
        self == Verdict::Valid
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is not on the closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a verdict")]
pub struct UnknownVerdict;

impl FromStr for Verdict {
    type Err = UnknownVerdict;
    fn from_str(text: &str) -> Result<Self, UnknownVerdict> {
        Self::ALL
            .into_iter()
            .find(|v| v.as_str() == text)
            .ok_or(UnknownVerdict)
    }
}
