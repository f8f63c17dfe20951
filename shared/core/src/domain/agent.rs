//! What a user agent tells: device class, and whether it is a known robot.
//!
//! The list of robots is a maintained crate's (`iscrawl`; a test holds ours against it); the coarse device class follows the
//! tokens that browsers themselves document (Mozilla's and Google's user-agent references).

mod robots;

use super::device::Device;

/// Whether this is a robot: on the maintained list, or no user agent at all.
pub fn is_robot(user_agent: Option<&str>) -> bool {
    match user_agent.map(str::trim) {
        None | Some("") => true,
        Some(agent) => robots::has(agent),
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
    if [
        "SmartTV", "SMART-TV", "Smart TV", "AppleTV", "Apple TV", "GoogleTV", "HbbTV", "Web0S", "BRAVIA",
        "AFTT", "Roku", "CrKey",
    ]
    .into_iter()
    .any(has)
    {
        Device::Tv
    } else if has("PlayStation") || has("Xbox") || has("Nintendo") || has("Watch") {
        Device::Other
    } else if has("iPad")
        || has("Tablet")
        || has("PlayBook")
        || has("Kindle")
        || has("Silk/")
        || has("Android") && !has("Mobile")
    {
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

#[cfg(test)]
mod tests {
    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    #[test]
    fn robots_are_those_of_the_list_and_those_without_a_name() {
        for robot in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
            "curl/8.5.0",
            "",
            "  ",
        ] {
            assert!(is_robot(Some(robot)), "{robot:?}");
        }
        assert!(is_robot(None));
        for person in [
            FIREFOX,
            "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
        ] {
            assert!(!is_robot(Some(person)), "{person:?}");
        }
    }

    #[test]
    fn the_answer_depends_on_the_text_and_not_on_where_it_lies() {
        let robot = "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) AAAAAAAA";
        let mut buffer = String::with_capacity(256);
        for _ in 0..3 {
            buffer.clear();
            buffer.push_str(FIREFOX);
            assert!(!is_robot(Some(&buffer)));
            buffer.clear();
            buffer.push_str(robot);
            assert!(is_robot(Some(&buffer)));
        }
    }

    #[test]
    fn devices_are_told_apart_by_their_browsers_own_words() {
        for (agent, class) in [
            (FIREFOX, Device::Desktop),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1",
                Device::Mobile,
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/140.0.0.0 Mobile Safari/537.36",
                Device::Mobile,
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-X910) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36",
                Device::Tablet,
            ),
            (
                "Mozilla/5.0 (SMART-TV; Linux; Tizen 8.0) AppleWebKit/537.36 Version/8.0 TV Safari/537.36",
                Device::Tv,
            ),
            (
                "Mozilla/5.0 (PlayStation 5 3.11) AppleWebKit/605.1.15 Version/13.0 Safari/605.1.15",
                Device::Other,
            ),
            ("Something", Device::Unknown),
        ] {
            assert_eq!(device(Some(agent), false), class, "{agent}");
        }
        assert_eq!(device(None, true), Device::Unknown);
        assert_eq!(device(Some("Googlebot"), true), Device::Bot);
    }
}
