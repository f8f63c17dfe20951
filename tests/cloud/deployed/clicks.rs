//! Clicks and their verdicts, and how they are counted.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use clickledger_aws::TokenKeysOptions;
use clickledger_core::domain::ids::ImpressionId;
use clickledger_core::domain::token::{Impression, TokenKey, TokenKeyRing};
use clickledger_core::ports::TokenKeys;
use clickledger_tests::http::BROWSER;
use serde_json::{Value, json};

use crate::lake::wait_for_records;
use crate::world::{World, text};

const ROBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const DAY_S: i64 = 86_400;

/// A token of the stack's own key, issued a day and a bit ago.
fn expired_token(world: &World, ad: &str, placement: &str) -> Result<String> {
    let keys = world.stack.aws.token_keys(TokenKeysOptions::default())?;
    let material = world.stack.wait(keys.load())?;
    let (id, secret) = material.signing.last().context("a signing key")?;
    let now_ms = World::now_ms();
    let impression = Impression {
        impression_id: ImpressionId::new(now_ms - DAY_S * 1000, [7; 10]),
        ad_id: ad.parse()?,
        placement_id: placement.parse()?,
        issued_at_s: u32::try_from(now_ms / 1000 - DAY_S - 60)?,
    };
    Ok(TokenKeyRing::new(TokenKey::new(*id, secret), []).issue(&impression))
}

pub(crate) fn every_verdict_redirects_and_is_counted_by_the_minute(world: &World) -> Result<()> {
    let advertiser = world.number();
    let (ad, other) = (world.ad(advertiser)?, world.ad(advertiser)?);
    let ((slot, placement), (other_slot, _)) = (world.slot(&ad)?, world.slot(&other)?);
    let fresh = || Ok::<_, anyhow::Error>(world.show(&slot)?.token);
    let browser = ("User-Agent", BROWSER);

    let (valid, ahead, robots) = (fresh()?, fresh()?, fresh()?);
    let foreign = world.show(&other_slot)?.token;
    let expired = expired_token(world, &ad, &placement)?;
    let mut changed = fresh()?.into_bytes();
    changed[40] = if changed[40] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed)?;

    for (token, headers) in [
        (Some(&valid), vec![browser]),
        (Some(&valid), vec![browser]), // duplicate
        (Some(&ahead), vec![browser, ("Sec-Purpose", "prefetch;prerender")]),
        (Some(&ahead), vec![browser]), // valid: what was fetched ahead claimed nothing
        (None, vec![browser]),
        (Some(&"garbage".to_owned()), vec![browser]),
        (Some(&changed), vec![browser]),
        (Some(&foreign), vec![browser]),
        (Some(&expired), vec![browser]),
        (Some(&robots), vec![("User-Agent", ROBOT)]),
        (Some(&robots), vec![browser]), // valid: nor did the robot
    ] {
        let answer = world.click_with(&ad, token.map(String::as_str), &headers)?;
        World::redirected(&answer).with_context(|| format!("{token:?} {headers:?}"))?;
    }
    let wanted = [
        ("valid", 3),
        ("duplicate", 1),
        ("prefetch", 1),
        ("missing_token", 1),
        ("bad_token", 3),
        ("expired_token", 1),
        ("bot", 1),
    ];
    let metrics = world.counted(&ad, &wanted)?;
    // The token of the other ad is still good for its own.
    World::redirected(&world.click(&other, Some(&foreign))?)?;
    world.counted(&other, &[("valid", 1)])?;

    // Paused before `click` has seen it: its cache would not know for a minute.
    let paused = world.ad(advertiser)?;
    let (paused_slot, _) = world.slot(&paused)?;
    let token = world.show(&paused_slot)?.token;
    let pause = json!({ "status": "paused" });
    let body = world.stack.api.send(
        "PATCH",
        &format!("/v1/ads/{paused}"),
        &[
            ("Authorization", &format!("Bearer {}", world.admin)),
            ("Content-Type", "application/merge-patch+json"),
        ],
        &pause.to_string(),
    )?;
    ensure!(body.status == 200, "{} {}", body.status, body.body);
    World::redirected(&world.click(&paused, Some(&token))?)?;
    world.counted(&paused, &[("inactive_ad", 1)])?;

    // Every minute against the records themselves.
    let records = wait_for_records(world, &ad, 11)?;
    let mut minutes: BTreeMap<i64, (u64, BTreeMap<String, u64>)> = BTreeMap::new();
    for record in &records {
        let at_ms = record["clicked_at_ms"].as_i64().context("clicked_at_ms")?;
        let (valid, invalid) = minutes.entry(at_ms / 60_000).or_default();
        match text(&record["verdict"])?.as_str() {
            "valid" => *valid += 1,
            verdict => *invalid.entry(verdict.to_owned()).or_default() += 1,
        }
    }
    let mut counted = BTreeMap::new();
    for row in metrics["rows"].as_array().context("rows")? {
        let start: jiff::Timestamp = text(&row["start"])?.parse()?;
        let invalid: BTreeMap<String, u64> = serde_json::from_value(row["invalid_by_verdict"].clone())?;
        let invalid: BTreeMap<_, _> = invalid.into_iter().filter(|(_, count)| *count > 0).collect();
        let valid = row["clicks"].as_u64().context("clicks")?;
        if valid > 0 || !invalid.is_empty() {
            counted.insert(start.as_millisecond() / 60_000, (valid, invalid));
        }
    }
    ensure!(
        counted == minutes,
        "by the minute: {counted:?}, in the lake: {minutes:?}"
    );

    // A duplicate names the click that has the impression.
    let duplicate = records.iter().find(|record| record["verdict"] == "duplicate");
    let duplicate = duplicate.context("a duplicate")?;
    let first = records
        .iter()
        .find(|record| record["click_id"] == duplicate["duplicate_of"]);
    let first = first.context("the click that has it")?;
    ensure!(first["verdict"] == "valid" && first["impression_id"] == duplicate["impression_id"]);
    Ok(())
}

pub(crate) fn the_link_of_a_placement_leads_to_a_valid_click(world: &World) -> Result<()> {
    let (_, ad, slot) = world.shown_ad()?;
    for _ in 0..3 {
        let shown = world.show(&slot)?;
        let answer = world
            .stack
            .api
            .send("GET", &shown.link, &[("User-Agent", BROWSER)], "")?;
        World::redirected(&answer)?;
    }
    world.counted(&ad, &[("valid", 3)]).map(drop)
}

pub(crate) fn counts_of_campaign_advertiser_placement_and_total_agree(world: &World) -> Result<()> {
    let advertiser = world.number();
    let ads = [world.ad(advertiser)?, world.ad(advertiser)?];
    let mut placements = Vec::new();
    for ad in &ads {
        let (slot, placement) = world.slot(ad)?;
        placements.push(placement);
        for _ in 0..2 {
            World::redirected(&world.click(ad, Some(&world.show(&slot)?.token))?)?;
        }
    }
    World::redirected(&world.click(&ads[0], None)?)?;
    world.counted(&ads[0], &[("valid", 2), ("missing_token", 1)])?;
    world.counted(&ads[1], &[("valid", 2)])?;
    let totals = |of: &str| -> Result<(u64, u64)> {
        let totals = &world.metrics(&world.admin, of, "")?["totals"];
        let number = |name: &str| totals[name].as_u64().with_context(|| format!("{of} {totals}"));
        Ok((number("clicks")?, number("gross_clicks")?))
    };
    for (of, wanted) in [
        (format!("campaigns/{}", 1000 + advertiser), (4, 5)),
        (format!("advertisers/{advertiser}"), (4, 5)),
        // Without a token nobody knows the placement.
        (format!("placements/{}", placements[0]), (2, 2)),
    ] {
        let found = totals(&of)?;
        ensure!(found == wanted, "{of}: {found:?}, not {wanted:?}");
    }
    let (clicks, gross) = totals("total")?;
    ensure!(clicks >= 4 && gross >= 5, "the total is {clicks} of {gross}");
    let by_verdict = world.metrics(
        &world.admin,
        &format!("advertisers/{advertiser}"),
        "&group_by=verdict",
    )?;
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for row in by_verdict["rows"].as_array().context("rows")? {
        *found.entry(text(&row["verdict"])?).or_default() += row["clicks"].as_u64().context("clicks")?;
    }
    let wanted = BTreeMap::from([("valid".to_owned(), 4), ("missing_token".to_owned(), 1)]);
    ensure!(found == wanted, "by verdict: {by_verdict}");
    let by_device = world.metrics(
        &world.admin,
        &format!("advertisers/{advertiser}"),
        "&group_by=device",
    )?;
    let desktop: u64 = by_device["rows"]
        .as_array()
        .context("rows")?
        .iter()
        .filter(|row| row["device"] == "desktop")
        .filter_map(|row| row["clicks"].as_u64())
        .sum();
    ensure!(desktop == 4, "by device: {by_device}");
    ensure!(by_device["meta"]["state"] != Value::Null, "{by_device}");
    Ok(())
}
