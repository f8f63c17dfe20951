//! The demo page in a real browser, on the real server.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clickledger_tests::browser::{Chromium, FOREIGN_HOST, Tab};
use clickledger_tests::server::Server;
use clickledger_tests::until;

const PATIENCE: Duration = Duration::from_secs(20);
/// What the page promises between a click and its count.
const VISIBLE_WITHIN: Duration = Duration::from_secs(2);

fn wait_for(tab: &Tab<'_>, limit: Duration, condition: &str) -> Result<()> {
    until(condition, limit, || {
        Ok((tab.value(condition)? == true).then_some(()))
    })
}

/// The number that the page shows for `selector`.
fn shows(selector: &str, count: u64) -> String {
    format!("document.querySelector('{selector}')?.textContent === '{count}'")
}

/// Puts a screenshot into `target/tmp`.
fn keep(name: &str, png: &[u8]) -> Result<()> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&folder)?;
    Ok(std::fs::write(folder.join(name), png)?)
}

#[test]
fn a_click_on_an_ad_opens_the_advertisers_page_and_is_counted_within_two_seconds() -> Result<()> {
    let server = Server::start()?;
    let chromium = Chromium::launch()?;
    let page = chromium.open(&format!("{}/", server.url()))?;
    wait_for(&page, PATIENCE, "location.pathname === '/demo'")?;
    wait_for(
        &page,
        PATIENCE,
        "document.querySelectorAll('.slot a.ad').length === 3",
    )?;
    wait_for(
        &page,
        PATIENCE,
        "document.getElementById('state').dataset.kind === 'live'",
    )?;
    wait_for(&page, PATIENCE, &shows("#valid", 0))?;

    page.click("[data-slot=demo-top] a.ad")?;
    wait_for(&page, VISIBLE_WITHIN, &shows("#valid", 1))?;

    let advertisers = format!("location.href.startsWith('{}/demo/landing/')", server.url());
    let landing = until("the advertiser's page in a tab of its own", PATIENCE, || {
        for tab in chromium.tabs()? {
            if tab.value(&advertisers).is_ok_and(|found| found == true) {
                return Ok(Some(tab));
            }
        }
        Ok(None)
    })?;
    wait_for(
        &landing,
        PATIENCE,
        "document.getElementById('brand').textContent !== 'The advertiser'",
    )?;
    keep("demo-landing.png", &landing.screenshot()?)?;
    landing.close()?;
    page.bring_to_front()?;

    page.click("#repeat")?;
    wait_for(&page, VISIBLE_WITHIN, &shows("[data-verdict=duplicate]", 1))?;
    page.click("#forge")?;
    wait_for(&page, VISIBLE_WITHIN, &shows("[data-verdict=bad_token]", 1))?;
    wait_for(&page, VISIBLE_WITHIN, &shows("#invalid", 2))?;
    wait_for(&page, VISIBLE_WITHIN, &shows("#valid", 1))?;

    page.click("#fresh")?;
    wait_for(
        &page,
        PATIENCE,
        "document.getElementById('tried').textContent.startsWith('New showings')",
    )?;
    page.click("[data-slot=demo-top] a.ad")?;
    wait_for(&page, VISIBLE_WITHIN, &shows("#valid", 2))?;
    page.bring_to_front()?;

    for (name, width, dark) in [
        ("desktop", 1280, false),
        ("desktop-dark", 1280, true),
        ("phone", 390, false),
        ("phone-dark", 390, true),
    ] {
        page.show_as(width, 900, dark)?;
        let scheme = format!("matchMedia('(prefers-color-scheme: dark)').matches === {dark}");
        wait_for(&page, PATIENCE, &format!("innerWidth === {width} && {scheme}"))?;
        wait_for(
            &page,
            PATIENCE,
            "document.documentElement.scrollWidth <= innerWidth",
        )?;
        let chart = "document.querySelector('#chart')";
        wait_for(
            &page,
            PATIENCE,
            &format!("{chart}.querySelector('canvas').getBoundingClientRect().width <= {chart}.clientWidth"),
        )?;
        keep(&format!("demo-{name}.png"), &page.screenshot()?)?;
    }

    assert_eq!(page.complaints(), Vec::<String>::new());
    Ok(())
}

#[test]
fn to_a_foreign_host_the_page_says_that_the_counts_are_shown_only_locally() -> Result<()> {
    let server = Server::start()?;
    let chromium = Chromium::launch()?;
    let page = chromium.open(&format!(
        "{}/demo",
        server.url().replace("127.0.0.1", FOREIGN_HOST)
    ))?;
    wait_for(
        &page,
        PATIENCE,
        "document.getElementById('state').dataset.kind === 'off'",
    )?;
    wait_for(
        &page,
        PATIENCE,
        "document.getElementById('state').textContent.includes('loopback')",
    )?;
    wait_for(
        &page,
        PATIENCE,
        "document.getElementById('valid').textContent === '–'",
    )?;
    Ok(())
}
