//! The dashboard in a real browser, on the real server: what an advertiser and an operator do with it, at which size, in which
//! scheme, with a mouse and without one.

#![allow(clippy::unwrap_used, clippy::panic)] // a test suite: a panic is its way to say no

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickledger_tests::browser::{Chromium, Tab};
use clickledger_tests::http::{self, ask};
use clickledger_tests::server::Server;
use clickledger_tests::until;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);
const MOBILE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
/// What the first view of a month may take, bytes on the network.
const FIRST_VIEW_BYTES: u64 = 200_000;

fn wait_for(tab: &Tab<'_>, condition: &str) -> Result<()> {
    until(condition, PATIENCE, || {
        Ok((tab.value(condition)? == true).then_some(()))
    })
    .with_context(|| {
        tab.value("document.body.innerText")
            .unwrap_or_default()
            .to_string()
    })
}

/// That the text of the page has this in it.
fn says(text: &str) -> String {
    format!("document.body.innerText.includes({})", json!(text))
}

/// That a tile shows this count.
fn tile(id: &str, count: u64) -> String {
    format!("document.getElementById('tile-{id}')?.dataset.count === '{count}'")
}

/// Puts a screenshot into `target/tmp`.
fn keep(name: &str, png: &[u8]) -> Result<()> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&folder)?;
    Ok(std::fs::write(folder.join(name), png)?)
}

/// A server with ads of advertisers 8 and 9, each alone in a slot, and keys.
struct World {
    server: Server,
    admin: String,
}

impl World {
    fn start() -> Result<Self> {
        let server = Server::start()?;
        let admin = server.printed_key().context("a key")?;
        Ok(Self { server, admin })
    }

    fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let bearer = format!("Bearer {}", self.admin);
        let body = body.map(Value::to_string);
        let headers = [("Authorization", bearer.as_str())];
        let answer = ask(self.server.url(), method, path, &headers, body.as_deref())?;
        ensure!(
            (200..300).contains(&answer.status),
            "{method} {path}: {}",
            answer.body
        );
        Ok(serde_json::from_str(&answer.body).unwrap_or_default())
    }

    /// An ad in a slot of its own; its id.
    fn ad(&self, advertiser: u32, campaign: u32, slot: &str, title: &str) -> Result<String> {
        let body = json!({ "advertiser_id": advertiser.to_string(), "campaign_id": campaign.to_string(),
                           "redirect_url": "https://shop.example/", "title": title });
        let ad = self.api("POST", "/v1/ads", Some(&body))?["ad_id"]
            .as_str()
            .context("an id")?
            .to_owned();
        let entries = json!({ "entries": [{ "ad_id": ad }] });
        self.api("PUT", &format!("/v1/placements/{slot}"), Some(&entries))?;
        Ok(ad)
    }

    fn advertisers_key(&self, advertiser: u32) -> Result<(String, String)> {
        let body = json!({ "scope": "advertiser", "advertiser_id": advertiser.to_string() });
        let made = self.api("POST", "/v1/keys", Some(&body))?;
        let text = |name: &str| made[name].as_str().map(str::to_owned).context("a key");
        Ok((text("key")?, text("key_id")?))
    }

    /// Clicks the slot's ad as a browser of this agent; `times` beyond the first are duplicates.
    fn click(&self, slot: &str, agent: &str, times: usize) -> Result<()> {
        let url = self.server.url();
        let shown = http::get(url, &format!("/v1/placements/{slot}"), &[])?;
        let shown: Value = serde_json::from_str(&shown.body)?;
        let path = shown["click_url"].as_str().context("a click")?;
        for _ in 0..times {
            let answer = http::get(url, path.trim_start_matches("../.."), &[("User-Agent", agent)])?;
            ensure!(answer.status == 302, "{}", answer.head);
        }
        Ok(())
    }

    fn sign_in<'a>(&self, chromium: &'a Chromium, key: &str, hash: &str) -> Result<Tab<'a>> {
        let page = chromium.open(&format!("{}/dashboard{hash}", self.server.url()))?;
        wait_for(&page, "document.activeElement?.id === 'key'")?;
        page.write("#key", key)?;
        page.press("Enter")?;
        wait_for(&page, "document.getElementById('bar').hidden === false")?;
        Ok(page)
    }
}

fn live(page: &Tab<'_>) -> Result<()> {
    wait_for(page, "document.getElementById('state').dataset.kind === 'live'")
}

/// The sum of a column of a CSV file.
fn sum(csv: &str, column: &str) -> u64 {
    let mut lines = csv.lines();
    let at = lines
        .next()
        .unwrap()
        .split(',')
        .position(|name| name == column)
        .unwrap();
    lines
        .map(|line| line.split(',').nth(at).unwrap().parse::<u64>().unwrap())
        .sum()
}

/// What pressing an element hands out as a file.
fn downloaded(page: &Tab<'_>, folder: &Path, selector: &str) -> Result<String> {
    for entry in std::fs::read_dir(folder)? {
        std::fs::remove_file(entry?.path())?;
    }
    page.value(&format!("document.querySelector('{selector}').click()"))?;
    until("a file", PATIENCE, || {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|is| is == "csv") {
                let text = std::fs::read_to_string(path)?;
                // The browser takes the name before it has the contents.
                return Ok((!text.is_empty()).then_some(text));
            }
        }
        Ok(None)
    })
}

#[test]
fn a_key_signs_in_and_the_live_count_rises_after_a_click() -> Result<()> {
    let world = World::start()?;
    let ad = world.ad(9, 12, "home-top", "Across the sound in forty minutes")?;
    world.click("home-top", http::BROWSER, 1)?;
    let chromium = Chromium::launch()?;
    let page = chromium.open(&format!("{}/dashboard", world.server.url()))?;
    wait_for(&page, "document.activeElement?.id === 'key'")?;
    page.write("#key", "clk_nothing_here")?;
    page.press("Enter")?;
    wait_for(&page, &says("This key opens nothing."))?;
    page.write("#key", &world.advertisers_key(9)?.0)?;
    page.press("Enter")?;
    live(&page)?;
    wait_for(&page, &tile("valid", 1))?;
    ensure!(
        page.value("document.cookie")? == "",
        "the page never sees its session"
    );

    page.click("[data-range='1h']")?;
    wait_for(&page, "location.hash === '#range=1h'")?;
    wait_for(&page, &says("Clicks by the minute"))?;
    wait_for(&page, &tile("valid", 1))?;
    // Nothing but the click makes it rise.
    world.click("home-top", http::BROWSER, 3)?;
    wait_for(&page, &tile("valid", 2))?;
    wait_for(&page, &tile("invalid", 2))?;
    wait_for(&page, &tile("rate", 0).replace("'0'", "'0.5'"))?;
    wait_for(
        &page,
        "document.querySelector('[data-card=reasons] [data-key=duplicate] .row-count').dataset.count === '2'",
    )?;
    wait_for(&page, &says("hatched: not final yet"))?;
    wait_for(&page, &says("These counts are live"))?;

    // The top ad leads to itself, and its chip back.
    let top = format!("[data-card=top] [data-key='{ad}']");
    wait_for(&page, &format!("document.querySelector(\"{top}\") !== null"))?;
    page.click(&top)?;
    wait_for(&page, &format!("location.hash.includes('ad={ad}')"))?;
    wait_for(&page, "document.title.startsWith('Across the sound')")?;
    wait_for(&page, &tile("valid", 2))?;
    page.click(".chip button")?;
    wait_for(&page, "location.hash === '#range=1h'")?;

    page.click("#sign-out")?;
    wait_for(&page, &says("You are signed out."))?;
    page.reload_fresh()?;
    wait_for(&page, "document.activeElement?.id === 'key'")?;
    Ok(())
}

#[test]
fn filters_narrow_what_is_shown_and_the_file_holds_what_the_page_shows() -> Result<()> {
    let world = World::start()?;
    world.ad(9, 12, "home-top", "Oilskins, \"waxed\" <img src=x>")?;
    for (agent, clicks) in [(MOBILE, 3), (http::BROWSER, 2)] {
        for _ in 0..clicks {
            world.click("home-top", agent, 2)?;
        }
    }
    let chromium = Chromium::launch()?;
    let files = tempfile::tempdir()?;
    chromium.keep_downloads(files.path())?;
    let page = world.sign_in(&chromium, &world.advertisers_key(9)?.0, "#range=24h")?;
    wait_for(&page, &tile("valid", 5))?;
    wait_for(&page, &tile("invalid", 5))?;
    let csv = downloaded(&page, files.path(), "#csv")?;
    assert_eq!(
        (
            sum(&csv, "clicks"),
            sum(&csv, "invalid_clicks"),
            sum(&csv, "gross_clicks")
        ),
        (5, 5, 10),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 25, "24 hours: {csv}");

    let mobile = "[data-card=device] [data-key=mobile]";
    wait_for(&page, &format!("document.querySelector('{mobile}') !== null"))?;
    page.click(mobile)?;
    wait_for(&page, "location.hash.includes('device=mobile')")?;
    wait_for(&page, &tile("valid", 3))?;
    wait_for(&page, &says("not kept by device and country"))?;
    wait_for(
        &page,
        &format!("document.querySelector('{mobile}').getAttribute('aria-pressed') === 'true'"),
    )?;
    let csv = downloaded(&page, files.path(), "#csv")?;
    assert_eq!(sum(&csv, "clicks"), 3, "{csv}");
    assert!(!csv.contains("invalid"), "what is not known is not in it: {csv}");
    let csv = downloaded(&page, files.path(), "[data-card=country] .card-head button")?;
    assert_eq!(csv, "country,clicks\r\nZZ,3\r\n");
    let csv = downloaded(&page, files.path(), "[data-card=top] .card-head button")?;
    assert_eq!(csv.lines().next(), Some("ad_id,title,clicks"));
    assert!(
        csv.contains(",\"Oilskins, \"\"waxed\"\" <img src=x>\",3\r\n"),
        "{csv}"
    );

    // A title is text, whatever it says.
    wait_for(&page, &says("<img src=x>"))?;
    wait_for(&page, "document.querySelectorAll('main img').length === 0")?;

    page.click(".chip button")?;
    wait_for(&page, &tile("valid", 5))?;
    // Going back brings the filter back.
    page.value("history.back()")?;
    wait_for(&page, &tile("valid", 3))?;
    Ok(())
}

#[test]
fn what_is_anothers_looks_like_what_is_not_there() -> Result<()> {
    let world = World::start()?;
    let own = world.ad(8, 11, "side", "Coffee roasted on Tuesday")?;
    let foreign = world.ad(9, 12, "home-top", "A rival's plan")?;
    world.click("home-top", http::BROWSER, 1)?;
    let chromium = Chromium::launch()?;
    let (key, key_id) = world.advertisers_key(8)?;
    let page = world.sign_in(&chromium, &key, "")?;
    wait_for(&page, &tile("valid", 0))?;
    for (entity, id) in [
        ("ad", foreign.as_str()),
        ("campaign", "12"),
        ("advertiser", "9"),
        ("ad", "9223372036854775807"),
    ] {
        page.go(&format!("{}/dashboard#{entity}={id}", world.server.url()))?;
        wait_for(
            &page,
            &says(&format!("There is no {entity} {id} that your key may see")),
        )?;
        wait_for(
            &page,
            &format!("!({}) && !({})", says("A rival's plan"), tile("valid", 1)),
        )?;
    }
    // What no view can be made of is as if it were not there.
    let nonsense = "tz=Nowhere/X&by=second&range=constructor&ad=%3Cimg%20src=x%3E&campaign=9223372036854775808&advertiser=0&device=toaster&country=de&compare=all&from=2026-13-01T00:00&to=x";
    page.go(&format!("{}/dashboard#{nonsense}", world.server.url()))?;
    wait_for(&page, &tile("valid", 0))?;
    wait_for(
        &page,
        "document.querySelector('[data-range=\"30d\"]').getAttribute('aria-pressed') === 'true'",
    )?;
    wait_for(&page, "document.querySelectorAll('.chip').length === 0")?;
    // Not an operator: the view is not there, and is not asked for.
    page.go(&format!("{}/dashboard#view=operations", world.server.url()))?;
    wait_for(&page, &tile("valid", 0))?;
    wait_for(&page, "document.querySelectorAll('nav a').length === 0")?;

    // By keyboard alone: an id that no list has.
    page.value("document.querySelector('.picker-button').focus()")?;
    page.press("Enter")?;
    wait_for(&page, "document.activeElement.type === 'search'")?;
    wait_for(&page, &says("Coffee roasted on Tuesday"))?;
    page.write(".picker-panel input", &foreign)?;
    page.press("Enter")?;
    wait_for(&page, &says("Nothing to see here"))?;
    wait_for(&page, "document.activeElement.className === 'picker-button'")?;
    page.press("Enter")?;
    page.write(".picker-panel input", "roasted")?;
    page.press("Enter")?;
    wait_for(&page, &format!("location.hash.includes('ad={own}')"))?;
    wait_for(&page, &tile("valid", 0))?;

    // A key that is revoked ends its sessions; whoever signs in again is where they were.
    world.api("DELETE", &format!("/v1/keys/{key_id}"), None)?;
    wait_for(&page, &says("Your session has ended."))?;
    page.write("#key", &world.advertisers_key(8)?.0)?;
    page.press("Enter")?;
    wait_for(&page, "document.title.startsWith('Coffee roasted')")?;
    Ok(())
}

#[test]
fn ranges_begin_and_end_as_the_clocks_of_the_zone_say_also_when_they_change() -> Result<()> {
    let world = World::start()?;
    let chromium = Chromium::launch()?;
    let page = chromium.open(&format!("{}/dashboard", world.server.url()))?;
    wait_for(&page, "document.activeElement?.id === 'key'")?;
    let range = |now: &str, zone: &str, range: &str| -> Result<[String; 4]> {
        let found = page.value(&format!(
            "(async () => {{ const time = await import(document.querySelector('script[type=module]').src.replace('main.js', 'time.js')); \
             const view = {{ range: '{range}', tz: '{zone}', compare: 'previous_period' }}; \
             const now = time.rangeOf(view, Date.parse('{now}')); const before = time.rangeBefore(view, now); \
             return [now.from, now.to, before.from, before.to].map(time.rfc3339); }})()"
        ))?;
        Ok(serde_json::from_value(found)?)
    };
    for (now, zone, name, expected) in [
        // Set ahead in the night of the last day, so the week before ends an hour of UTC later.
        (
            "2026-03-30T10:00:20Z",
            "Europe/Berlin",
            "7d",
            [
                "2026-03-23T23:00:00Z",
                "2026-03-30T10:01:00Z",
                "2026-03-16T23:00:00Z",
                "2026-03-23T11:01:00Z",
            ],
        ),
        // Set back.
        (
            "2026-11-02T03:30:00Z",
            "America/New_York",
            "30d",
            [
                "2026-10-03T04:00:00Z",
                "2026-11-02T03:31:00Z",
                "2026-09-03T04:00:00Z",
                "2026-10-03T02:31:00Z",
            ],
        ),
        // Half an hour, set back by half an hour.
        (
            "2026-04-05T15:10:00Z",
            "Australia/Lord_Howe",
            "24h",
            [
                "2026-04-04T15:30:00Z",
                "2026-04-05T15:11:00Z",
                "2026-04-03T15:30:00Z",
                "2026-04-04T15:11:00Z",
            ],
        ),
        // A day that begins at one o'clock.
        (
            "2026-09-06T10:00:00Z",
            "America/Santiago",
            "today",
            [
                "2026-09-06T04:00:00Z",
                "2026-09-06T10:01:00Z",
                "2026-09-05T05:00:00Z",
                "2026-09-05T11:01:00Z",
            ],
        ),
        // The last minute of a day, and its first.
        (
            "2026-01-01T23:59:30Z",
            "UTC",
            "today",
            [
                "2026-01-01T00:00:00Z",
                "2026-01-02T00:00:00Z",
                "2025-12-31T00:00:00Z",
                "2026-01-01T00:00:00Z",
            ],
        ),
        (
            "2026-01-02T00:00:00Z",
            "UTC",
            "today",
            [
                "2026-01-02T00:00:00Z",
                "2026-01-02T00:01:00Z",
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:01:00Z",
            ],
        ),
    ] {
        assert_eq!(range(now, zone, name)?, expected, "{name} at {now} in {zone}");
    }
    Ok(())
}

/// A folder with days of traffic, its keys, and what was clicked, as `clickledger demo` tells it.
fn month(folder: &Path) -> Result<Value> {
    let made = clickledger_tests::server::command()?
        .args(["demo", "--days", "31", "--clicks", "20000", "--json", "--data"])
        .arg(folder)
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(serde_json::from_slice(&made.stdout)?)
}

fn axe() -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/axe");
    let told = Command::new(script).output().context("running scripts/axe")?;
    ensure!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    Ok(std::fs::read_to_string(String::from_utf8(told.stdout)?.trim())?)
}

/// What axe-core finds that it calls serious or critical.
fn findings(page: &Tab<'_>) -> Result<Vec<String>> {
    let run = "axe.run().then((found) => found.violations.filter(({ impact }) => impact === 'serious' || impact === 'critical') \
               .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ target }) => target.join(' ')).join(', ')}`))";
    let found = page.value(run)?;
    let found = found.as_array().context("findings")?;
    Ok(found.iter().map(ToString::to_string).collect())
}

#[test]
fn a_month_is_shown_at_every_size_in_both_schemes_without_barriers_and_small() -> Result<()> {
    let data = tempfile::tempdir()?;
    let folder = data.path().join("demo");
    let demo = month(&folder)?;
    let key = |name: &str| demo[name].as_str().map(str::to_owned).context(demo.to_string());
    let server = Server::start_with(&folder, "127.0.0.1:0", &[])?;
    let world = World {
        server,
        admin: key("admin_key")?,
    };
    let axe = axe()?;
    let chromium = Chromium::launch()?;
    let page = chromium.open(&format!("{}/dashboard", world.server.url()))?;
    wait_for(&page, "document.activeElement?.id === 'key'")?;
    let schemes = [
        ("desktop", 1280, false),
        ("desktop-dark", 1280, true),
        ("phone", 390, false),
        ("phone-dark", 390, true),
    ];
    let look = |view: &str| -> Result<()> {
        page.value(&axe)?;
        for (name, width, dark) in schemes {
            page.show_as(width, 900, dark)?;
            let scheme = format!("matchMedia('(prefers-color-scheme: dark)').matches === {dark}");
            wait_for(&page, &format!("innerWidth === {width} && {scheme}"))?;
            wait_for(&page, "document.documentElement.scrollWidth <= innerWidth")?;
            wait_for(
                &page,
                "document.getAnimations().length === 0 || document.getAnimations().every(({ effect }) => effect.getTiming().iterations === Infinity)",
            )?;
            assert_eq!(findings(&page)?, Vec::<String>::new(), "{view} {name}");
            keep(&format!("dashboard-{view}-{name}.png"), &page.screenshot()?)?;
        }
        page.show_as(1280, 900, false)
    };
    look("sign-in")?;

    page.write("#key", &world.admin)?;
    page.press("Enter")?;
    live(&page)?;
    let drawn = "document.querySelector('[data-card=top] .row') !== null && document.querySelector('[data-card=country] .row') !== null \
                 && document.querySelector('.chart canvas') !== null";
    wait_for(&page, drawn)?;
    look("month")?;
    page.reload_fresh()?;
    wait_for(&page, drawn)?;
    let (bytes, requests) = page.transferred();
    println!("first view of a month: {bytes} bytes in {requests} answers");
    assert!(bytes > 20_000, "the page came over the network: {bytes}");
    assert!(bytes < FIRST_VIEW_BYTES, "{bytes} bytes in {requests} answers");

    // Months stand beside the same days before; there is nothing before the demo's first day, and everything in the last week.
    page.go(&format!("{}/dashboard#range=7d", world.server.url()))?;
    wait_for(
        &page,
        "/[↑↓]/.test(document.querySelector('[data-tile=valid] .tile-delta').textContent)",
    )?;
    wait_for(&page, &says("before: "))?;
    wait_for(&page, &says("are final"))?;
    page.value("document.querySelectorAll('details').forEach((details) => { details.open = true; })")?;
    wait_for(
        &page,
        "document.querySelectorAll('.as-table tbody tr').length > 100",
    )?;
    look("week-as-table")?;

    // An advertiser's sealed clicks by where they came from: no row leads anywhere, and a filter narrows them.
    let advertiser = key("advertiser_id")?;
    page.go(&format!(
        "{}/dashboard#advertiser={advertiser}&range=7d",
        world.server.url()
    ))?;
    let card = "document.querySelector('[data-card=placement]')";
    wait_for(
        &page,
        &format!("{card}?.querySelector('h2').textContent === 'Placements, sealed hours only'"),
    )?;
    wait_for(&page, &format!("{card}.querySelectorAll('.row').length > 1"))?;
    assert_eq!(
        page.value(&format!("{card}.querySelectorAll('button.row').length"))?,
        0
    );
    let sum = |page: &Tab<'_>| -> Result<u64> {
        let counts = format!(
            "[...{card}.querySelectorAll('.row-count')].reduce((sum, count) => sum + Number(count.dataset.count), 0)"
        );
        page.value(&counts)?
            .as_f64()
            .map(|sum| sum as u64)
            .context("a sum")
    };
    let all = sum(&page)?;
    assert!(all > 0, "no click by any placement");
    let first = format!("{card}.querySelector('.row').dataset.key");
    let placement = page.value(&first)?.as_str().context("a placement")?.to_owned();
    let listed = world.api("GET", "/v1/placements", None)?;
    let listed = listed["items"].as_array().context("placements")?;
    let slot = listed.iter().find(|it| it["placement_id"] == placement.as_str());
    let slot = slot
        .and_then(|it| it["slot"].as_str())
        .context("the row's placement")?;
    wait_for(
        &page,
        &format!(
            "{card}.querySelector('.row-label').textContent === {}",
            json!(slot)
        ),
    )?;
    look("advertiser")?;
    page.go(&format!(
        "{}/dashboard#advertiser={advertiser}&range=7d&device=mobile",
        world.server.url()
    ))?;
    until("fewer clicks by placement", PATIENCE, || {
        let fewer = sum(&page)?;
        Ok((0 < fewer && fewer < all).then_some(()))
    })?;

    page.go(&format!("{}/dashboard#view=operations", world.server.url()))?;
    wait_for(&page, &says("as recounting found them"))?;
    wait_for(&page, "document.querySelectorAll('tbody tr').length > 10")?;
    look("operations")?;
    assert_eq!(
        page.complaints()
            .iter()
            .filter(|said| !said.contains("401"))
            .cloned()
            .collect::<Vec<_>>(),
        Vec::<String>::new()
    );
    Ok(())
}
