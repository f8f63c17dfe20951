//! The demo page in a real browser, on the real server.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clickledger_tests::browser::{self, FOREIGN_HOST, value};
use clickledger_tests::server::Server;
use clickledger_tests::until;
use headless_chrome::Tab;

const PATIENCE: Duration = Duration::from_secs(20);
/// What the page promises between a click and its count.
const VISIBLE_WITHIN: Duration = Duration::from_secs(2);

fn wait_for(tab: &Tab, limit: Duration, condition: &str) -> Result<()> {
    until(condition, limit, || {
        Ok((value(tab, condition)? == true).then_some(()))
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
    let chromium = browser::launch()?;
    let page = chromium.new_tab()?;
    let complaints = browser::listen_for_errors(&page)?;

    page.navigate_to(&format!("{}/", server.url()))?
        .wait_until_navigated()?;
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

    page.find_element("[data-slot=demo-top] a.ad")?.click()?;
    wait_for(&page, VISIBLE_WITHIN, &shows("#valid", 1))?;

    let landing = until("the advertiser's page in a tab of its own", PATIENCE, || {
        chromium.register_missing_tabs();
        let tabs = chromium.get_tabs().lock().unwrap().clone();
        Ok(tabs.into_iter().find(|tab| {
            tab.get_url()
                .starts_with(&format!("{}/demo/landing/", server.url()))
        }))
    })?;
    wait_for(
        &landing,
        PATIENCE,
        "document.getElementById('brand').textContent !== 'The advertiser'",
    )?;
    keep("demo-landing.png", &browser::screenshot(&landing)?)?;
    landing.close(false)?;
    page.bring_to_front()?;

    page.find_element("#repeat")?.click()?;
    wait_for(&page, VISIBLE_WITHIN, &shows("[data-verdict=duplicate]", 1))?;
    page.find_element("#forge")?.click()?;
    wait_for(&page, VISIBLE_WITHIN, &shows("[data-verdict=bad_token]", 1))?;
    wait_for(&page, VISIBLE_WITHIN, &shows("#invalid", 2))?;
    wait_for(&page, VISIBLE_WITHIN, &shows("#valid", 1))?;

    page.find_element("#fresh")?.click()?;
    wait_for(
        &page,
        PATIENCE,
        "document.getElementById('tried').textContent.startsWith('New showings')",
    )?;
    page.find_element("[data-slot=demo-top] a.ad")?.click()?;
    wait_for(&page, VISIBLE_WITHIN, &shows("#valid", 2))?;
    page.bring_to_front()?;

    for (name, width, dark) in [
        ("desktop", 1280, false),
        ("desktop-dark", 1280, true),
        ("phone", 390, false),
        ("phone-dark", 390, true),
    ] {
        browser::show_as(&page, width, 900, dark)?;
        wait_for(
            &page,
            PATIENCE,
            &format!(
                "innerWidth === {width} && matchMedia('(prefers-color-scheme: dark)').matches === {dark}"
            ),
        )?;
        wait_for(
            &page,
            PATIENCE,
            "document.documentElement.scrollWidth <= innerWidth",
        )?;
        wait_for(
            &page,
            PATIENCE,
            "document.querySelector('#chart canvas').getBoundingClientRect().width <= document.querySelector('#chart').clientWidth",
        )?;
        keep(&format!("demo-{name}.png"), &browser::screenshot(&page)?)?;
    }

    assert_eq!(*complaints.lock().unwrap(), Vec::<String>::new());
    Ok(())
}

#[test]
fn to_a_foreign_host_the_page_says_that_the_counts_are_shown_only_locally() -> Result<()> {
    let server = Server::start()?;
    let chromium = browser::launch()?;
    let page = chromium.new_tab()?;
    page.navigate_to(&format!(
        "{}/demo",
        server.url().replace("127.0.0.1", FOREIGN_HOST)
    ))?
    .wait_until_navigated()?;
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
    wait_for(&page, PATIENCE, &shows("#valid", 0).replace("'0'", "'–'"))?;
    Ok(())
}
