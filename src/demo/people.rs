//! Who clicks, and how: browsers by device class, robots, addresses.
//!
//! Invariant: addresses are of the range that is set aside for tests (RFC 2544): they are nobody's.

use std::net::{IpAddr, Ipv4Addr};

use clickledger_core::domain::device::Device;
use rand::RngExt;
use rand::rngs::StdRng;

const DESKTOPS: &[&str] = &[
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
];
const PHONES: &[&str] = &[
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
];
const TABLETS: &[&str] = &[
    "Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; SM-X910) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
];
const TELEVISIONS: &[&str] = &[
    "Mozilla/5.0 (SMART-TV; Linux; Tizen 8.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/8.0 TV Safari/537.36",
];
const CONSOLES: &[&str] = &[
    "Mozilla/5.0 (PlayStation; PlayStation 5/9.60) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15",
];
const ROBOTS: &[&str] = &[
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "curl/8.5.0",
];
/// What the robot of the burst calls itself.
pub(super) const SCRAPER: &str = "python-requests/2.32.3";

fn one_of(all: &[&'static str], random: &mut StdRng) -> &'static str {
    all[random.random_range(0..all.len())]
}

/// A browser on such a device.
pub(super) fn browser(device: Device, random: &mut StdRng) -> &'static str {
    let all = match device {
        Device::Mobile => PHONES,
        Device::Tablet => TABLETS,
        Device::Tv => TELEVISIONS,
        Device::Other => CONSOLES,
        Device::Desktop | Device::Bot | Device::Unknown => DESKTOPS,
    };
    one_of(all, random)
}

/// A robot that says so; one in five says nothing.
pub(super) fn robot(random: &mut StdRng) -> Option<&'static str> {
    (random.random_range(0..5) > 0).then(|| one_of(ROBOTS, random))
}

/// Somebody's address.
pub(super) fn address(random: &mut StdRng) -> IpAddr {
    let [a, b, c, _] = random.random::<u32>().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(198, 18 + (a & 1), b, c))
}

/// One of these, as often as its share says.
pub(super) fn by_share<T>(all: &[T], share: impl Fn(&T) -> f64, random: &mut StdRng) -> Option<usize> {
    let total: f64 = all.iter().map(&share).sum();
    let mut point = random.random::<f64>() * total;
    for (place, item) in all.iter().enumerate() {
        point -= share(item);
        if point < 0.0 {
            return Some(place);
        }
    }
    // Rounding may leave a rest.
    all.len().checked_sub(1)
}

#[cfg(test)]
mod tests {
    use clickledger_core::domain::agent;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn browsers_are_what_they_are_taken_for_and_robots_are_found_out() {
        let mut random = StdRng::seed_from_u64(1);
        for device in [
            Device::Desktop,
            Device::Mobile,
            Device::Tablet,
            Device::Tv,
            Device::Other,
        ] {
            for _ in 0..20 {
                let browser = Some(browser(device, &mut random));
                assert!(!agent::is_robot(browser));
                assert_eq!(agent::device(browser, false), device, "{browser:?}");
            }
        }
        assert!((0..50).all(|_| agent::is_robot(robot(&mut random))));
        assert!(agent::is_robot(Some(SCRAPER)));
    }

    #[test]
    fn draws_follow_the_shares() {
        let mut random = StdRng::seed_from_u64(2);
        let mut drawn = [0; 3];
        for _ in 0..9000 {
            drawn[by_share(&[1.0, 0.0, 2.0], |share| *share, &mut random).unwrap()] += 1;
        }
        assert!((2700..3300).contains(&drawn[0]) && drawn[1] == 0, "{drawn:?}");
    }
}
