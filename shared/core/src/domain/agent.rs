//! What a user agent tells: device class, and whether it is a known robot.
//!
//! The list of robots is a maintained crate's (`iscrawl`); the coarse device class follows the tokens that browsers
//! themselves document (Mozilla's and Google's user-agent references).

use super::device::Device;

/// Whether this is a robot: on the maintained list, or no user agent at all.
pub fn is_robot(user_agent: Option<&str>) -> bool {
    match user_agent.map(str::trim) {
        None | Some("") => true,
        Some(agent) => iscrawl::is_crawler(agent),
    }
}

/// The device class of a user agent.
pub fn device(user_agent: Option<&str>, robot: bool) -> Device {
    let Some(agent) = user_agent.map(str::trim).filter(|agent| !agent.is_empty()) else {
        return Device::Unknown;
    };
    if robot {
        return Device::Bot;
    }
    let has = |word: &str| agent.contains(word);
    if ["SmartTV", "SMART-TV", "Smart TV", "AppleTV", "Apple TV", "GoogleTV", "HbbTV", "Web0S", "BRAVIA", "AFTT", "Roku", "CrKey"]
        .into_iter()
        .any(has)
    {
        Device::Tv
    } else if has("PlayStation") || has("Xbox") || has("Nintendo") || has("Watch") {
        Device::Other
    } else if has("iPad") || has("Tablet") || has("PlayBook") || has("Kindle") || has("Silk/") || has("Android") && !has("Mobile") {
        Device::Tablet
    } else if has("Mobi") || has("iPhone") || has("iPod") || has("Android") {
        Device::Mobile
    } else if has("Windows NT") || has("Macintosh") || has("X11") || has("CrOS") {
        Device::Desktop
    } else if has("Mozilla/") || has("Opera") {
        Device::Other
    } else {
        Device::Unknown
    }
}
