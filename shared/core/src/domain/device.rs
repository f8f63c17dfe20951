//! The closed list of device classes, applied when the click comes in, so that fold and SQL agree.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What kind of device clicked, after its user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Device {
    /// A desktop or laptop computer.
    Desktop = 0,
    /// A phone.
    Mobile = 1,
    /// A tablet.
    Tablet = 2,
    /// A television or a box beside one.
    Tv = 3,
    /// A robot.
    Bot = 4,
    /// A browser on something else (console, watch, car …).
    Other = 5,
    /// No user agent, or none that tells.
    Unknown = 6,
}

impl Device {
    /// Every class.
    pub const ALL: [Device; 7] = [
        Device::Desktop,
        Device::Mobile,
        Device::Tablet,
        Device::Tv,
        Device::Bot,
        Device::Other,
        Device::Unknown,
    ];

    /// Its name in records and breakdowns.
    pub fn as_str(self) -> &'static str {
        match self {
            Device::Desktop => "desktop",
            Device::Mobile => "mobile",
            Device::Tablet => "tablet",
            Device::Tv => "tv",
            Device::Bot => "bot",
            Device::Other => "other",
            Device::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is not on the closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a device class")]
pub struct UnknownDevice;

impl FromStr for Device {
    type Err = UnknownDevice;
    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        Self::ALL
            .into_iter()
            .find(|d| d.as_str() == text)
            .ok_or(UnknownDevice)
    }
}
