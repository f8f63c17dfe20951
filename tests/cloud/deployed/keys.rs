//! API keys: who sees what, and for how long.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickledger_tests::until;
use serde_json::json;

use crate::world::{World, text};

/// A function knows a key for 30 s after it has read it.
const REVOKED: Duration = Duration::from_secs(90);

pub(crate) fn a_tenant_sees_its_own_and_no_more(world: &World) -> Result<()> {
    let (advertiser, ad, _) = world.shown_ad()?;
    let (rival, rival_ad, _) = world.shown_ad()?;
    let (_, own) = world.advertiser_key(advertiser)?;
    let (_, foreign) = world.advertiser_key(rival)?;
    let api = &world.stack.api;
    let metrics =
        |id: &str| format!("/v1/ads/{id}/metrics?from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z");
    let of_advertiser =
        |id: u64| format!("/v1/advertisers/{id}/metrics?from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z");
    for (key, own, other, own_ad, other_ad) in [
        (&own, advertiser, rival, &ad, &rival_ad),
        (&foreign, rival, advertiser, &rival_ad, &ad),
    ] {
        for (path, status) in [
            (format!("/v1/ads/{own_ad}"), 200),
            (format!("/v1/ads/{other_ad}"), 404),
            (metrics(own_ad), 200),
            (metrics(other_ad), 404),
            (of_advertiser(own), 200),
            (of_advertiser(other), 404),
            ("/v1/keys".to_owned(), 403),
        ] {
            api.call(key, "GET", &path, None, status)?;
        }
        let mine = api.call(key, "GET", "/v1/ads", None, 200)?;
        let ids: Vec<_> = mine["items"]
            .as_array()
            .context("items")?
            .iter()
            .map(|ad| &ad["ad_id"])
            .collect();
        ensure!(ids == [own_ad], "{mine}");
        let title = json!({ "title": "Mine now" });
        api.call(key, "PATCH", &format!("/v1/ads/{other_ad}"), Some(&title), 404)?;
        let slot = json!({ "entries": [{ "ad_id": own_ad, "weight": 1 }] });
        api.call(key, "PUT", "/v1/placements/mine", Some(&slot), 403)?;
    }
    Ok(())
}

pub(crate) fn a_revoked_key_opens_nothing_and_the_list_says_so(world: &World) -> Result<()> {
    let (advertiser, ad, _) = world.shown_ad()?;
    let (id, key) = world.advertiser_key(advertiser)?;
    let api = &world.stack.api;
    let (of_ad, of_counts) = (
        format!("/v1/ads/{ad}"),
        format!("/v1/ads/{ad}/metrics?from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z"),
    );
    // Both functions know it now.
    api.call(&key, "GET", &of_ad, None, 200)?;
    api.call(&key, "GET", &of_counts, None, 200)?;

    let listed = |id: &str| -> Result<serde_json::Value> {
        let mut path = "/v1/keys?limit=2".to_owned();
        loop {
            let page = world.call("GET", &path, None, 200)?;
            if let Some(found) = page["items"]
                .as_array()
                .context("items")?
                .iter()
                .find(|key| key["key_id"] == *id)
            {
                return Ok(found.clone());
            }
            path = format!(
                "/v1/keys?limit=2&cursor={}",
                text(&page["next_cursor"]).context("no such key")?
            );
        }
    };
    let before = listed(&id)?;
    ensure!(
        before["revoked_at"].is_null() && before["key"].is_null(),
        "{before}"
    );
    let of: u64 = text(&before["advertiser_id"])?.parse()?;
    ensure!(of == advertiser, "{before}");

    let rotated = world.call("POST", &format!("/v1/keys/{id}/rotate"), None, 201)?;
    let (new_id, new) = (text(&rotated["key_id"])?, text(&rotated["key"])?);
    api.call(&new, "GET", &of_ad, None, 200)?;
    world.call("DELETE", &format!("/v1/keys/{new_id}"), None, 204)?;
    for id in [&id, &new_id] {
        ensure!(!listed(id)?["revoked_at"].is_null(), "{id} is not revoked");
    }
    for key in [&key, &new] {
        for path in [&of_ad, &of_counts] {
            let bearer = format!("Bearer {key}");
            until("a revoked key opens nothing", REVOKED, || {
                let answer = api.send("GET", path, &[("Authorization", &bearer)], "")?;
                ensure!([200, 401].contains(&answer.status), "{answer:?}");
                Ok((answer.status == 401).then_some(()))
            })?;
        }
    }
    Ok(())
}

/// That the policies are enforced at all, or the walk would show nothing of them.
pub(crate) fn without_its_policy_a_function_can_do_nothing(world: &World) -> Result<()> {
    let (_, ad, _) = world.shown_ad()?;
    world
        .stack
        .take_policy(world.stack.output("PlacementFunctionName")?, "placement")?;
    world.call("GET", "/v1/ads", None, 503)?;
    // Nobody else's policy was touched.
    world.metrics(&world.admin, &format!("ads/{ad}"), "").map(drop)
}
