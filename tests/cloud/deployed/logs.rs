//! What the functions have logged.

use anyhow::{Result, ensure};
use clickledger_tests::http::BROWSER;
use clickledger_tests_cloud::functions;

use crate::world::World;

pub(crate) fn no_log_holds_anything_personal(world: &World) -> Result<()> {
    let (_, ad, slot) = world.shown_ad()?;
    let shown = world.show(&slot)?;
    let personal = [
        ("User-Agent", "Canary/7.0 (a user agent that nobody else has)"),
        ("X-Forwarded-For", "203.0.113.199"),
        ("Referer", "https://canary-referrer.example/a/page?of=somebody"),
        ("Cookie", "session=canary-cookie"),
    ];
    // Also where something goes wrong.
    World::redirected(&world.click_with(&ad, Some(&shown.token), &personal)?)?;
    world.click_with("77", Some(&shown.token), &personal)?;
    world.click_with("x", Some("canary-token"), &personal)?;
    let stranger = "clk_AAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    world.stack.api.call(stranger, "GET", "/v1/ads", None, 401)?;
    world.stack.api.call(stranger, "GET", "/v1/keys", None, 401)?;

    // Its end: an underscore may be of the secret itself.
    let key_secret = &world.admin[world.admin.len() - 24..];
    let words = [
        "Canary",
        "canary",
        "203.0.113",
        BROWSER,
        "Firefox",
        "Googlebot",
        &shown.token,
        key_secret,
        "AAAAAAAAAAAA",
    ];
    let mut lines = 0;
    for function in functions::ALL {
        for line in world.stack.log(function)? {
            // The last resort is the record itself, whose addresses are cut and hashed: base64, so none of these words.
            lines += 1;
            for word in words {
                ensure!(!line.contains(word), "{function} has logged {word:?}: {line}");
            }
        }
    }
    ensure!(
        lines > 10,
        "{lines} lines: are the logs read where they are written?"
    );
    Ok(())
}
