//! Before the clock starts: ads, slots, and as many impressions as the clicks need.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::plan::Popularity;
use super::wire::{Connection, Site};
use crate::progress;

/// A request is tried as often as this before the run is given up.
const TRIES: u32 = 5;

/// What all of a run's preparation shares.
pub(super) struct Prepare {
    pub(super) site: Arc<Site>,
    /// The `Authorization` header's line.
    pub(super) authorization: String,
    pub(super) connections: usize,
    /// Makes the run's names unlike any other run's.
    pub(super) run: u64,
}

/// Click paths, in the order in which their impressions were fetched.
#[derive(Debug, Default)]
pub(super) struct Impressions {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Impressions {
    fn push(&mut self, path: &str) {
        self.bytes.extend_from_slice(path.as_bytes());
        self.ends.push(self.bytes.len());
    }

    /// Path and query of the click on this impression.
    pub(super) fn path(&self, place: u32) -> &[u8] {
        let place = place as usize;
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.bytes[start..self.ends[place]]
    }
}

#[derive(Deserialize)]
struct MadeAd {
    ad_id: String,
}

#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow)]
    click_url: std::borrow::Cow<'a, str>,
}

struct Request {
    method: &'static str,
    path: String,
    body: String,
}

impl Prepare {
    /// Makes the ads of one advertiser; their ids, in their order.
    pub(super) async fn ads(&self, advertiser_id: u64, count: usize) -> Result<Vec<String>> {
        let path = self.site.path("/v1/ads");
        let made = Arc::new(Mutex::new(vec![String::new(); count]));
        let keep = Arc::clone(&made);
        let request = move |place: usize| Request {
            method: "POST",
            path: path.clone(),
            body: json!({
                "advertiser_id": advertiser_id.to_string(),
                "campaign_id": (advertiser_id + 1 + place as u64 / 100).to_string(),
                "redirect_url": format!("https://advertiser.example/landing/{place}"),
                "title": format!("Load {place}"),
            })
            .to_string(),
        };
        let each = move |place: usize, body: &[u8]| {
            let ad: MadeAd = serde_json::from_slice(body)?;
            keep.lock().unwrap_or_else(PoisonError::into_inner)[place] = ad.ad_id;
            Ok(())
        };
        self.all("ads", count, request, each).await?;
        Ok(std::mem::take(
            &mut *made.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    /// Puts the ads into slots.
    pub(super) async fn slots(&self, popularity: Arc<Popularity>, ads: Vec<String>) -> Result<()> {
        let (site, run, count) = (Arc::clone(&self.site), self.run, popularity.slots());
        let request = move |slot: usize| {
            let entries: Vec<_> = popularity
                .entries(slot)
                .map(|(ad, weight)| json!({"ad_id": ads[ad], "weight": weight}))
                .collect();
            Request {
                method: "PUT",
                path: site.path(&format!("/v1/placements/{}", slot_name(run, slot))),
                body: json!({ "entries": entries }).to_string(),
            }
        };
        self.all("slots", count, request, |_, _| Ok(())).await
    }

    /// Asks for impressions as readers of pages do: slots are drawn by their popularity.
    pub(super) async fn impressions(&self, popularity: &Popularity, count: usize) -> Result<Impressions> {
        let mut random = StdRng::seed_from_u64(self.run);
        let slots: Arc<[u32]> = (0..count).map(|_| popularity.draw(&mut random) as u32).collect();
        let paths: Arc<[String]> = (0..popularity.slots())
            .map(|slot| {
                self.site
                    .path(&format!("/v1/placements/{}", slot_name(self.run, slot)))
            })
            .collect();
        let fetched = Arc::new(Mutex::new(Impressions::default()));
        let (keep, site) = (Arc::clone(&fetched), Arc::clone(&self.site));
        let (asked, shown) = (Arc::clone(&slots), Arc::clone(&paths));
        let request = move |place: usize| Request {
            method: "GET",
            path: paths[slots[place] as usize].clone(),
            body: String::new(),
        };
        let each = move |place: usize, body: &[u8]| {
            let found: Shown<'_> = serde_json::from_slice(body)?;
            let path = site
                .resolve_from(&shown[asked[place] as usize], &found.click_url)
                .ok_or_else(|| anyhow!("{} is no URL", found.click_url))?;
            keep.lock().unwrap_or_else(PoisonError::into_inner).push(&path);
            Ok(())
        };
        self.all("impressions", count, request, each).await?;
        Ok(std::mem::take(
            &mut *fetched.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    /// Sends `count` requests over all connections and hands each answer's body to `each`.
    async fn all<M, E>(&self, what: &'static str, count: usize, request: M, each: E) -> Result<()>
    where
        M: Fn(usize) -> Request + Send + Sync + 'static,
        E: Fn(usize, &[u8]) -> Result<()> + Send + Sync + 'static,
    {
        let bar = progress::bar(what, count as u64);
        let shared = Arc::new((AtomicUsize::new(0), request, each));
        let headers = Arc::new(format!(
            "{}Accept: application/json\r\nUser-Agent: {}\r\n",
            self.authorization,
            super::USER_AGENT
        ));
        let mut tasks: JoinSet<Result<()>> = JoinSet::new();
        for _ in 0..self.connections.min(count.max(1)) {
            let (site, shared, headers) = (Arc::clone(&self.site), Arc::clone(&shared), Arc::clone(&headers));
            let bar = bar.clone();
            tasks.spawn(async move {
                let (next, request, each) = &*shared;
                let (mut connection, mut bytes) = (Connection::to(&site), Vec::new());
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= count {
                        return Ok(());
                    }
                    let Request { method, path, body } = request(place);
                    site.request(&mut bytes, method, path.as_bytes(), &headers, &body);
                    let answer = tried(&mut connection, &bytes)
                        .await
                        .with_context(|| format!("{method} {path}"))?;
                    each(place, &answer).with_context(|| format!("the answer of {method} {path}"))?;
                    bar.inc(1);
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.context("preparing")??;
        }
        bar.finish_and_clear();
        Ok(())
    }
}

fn slot_name(run: u64, slot: usize) -> String {
    format!("load-{run:x}-{slot}")
}

/// The body of a successful answer.
async fn tried(connection: &mut Connection, request: &[u8]) -> Result<Vec<u8>> {
    let mut last = anyhow!("not tried");
    for again in 0..TRIES {
        if again > 0 {
            sleep(Duration::from_millis(100 << again)).await;
        }
        match connection.exchange(request).await {
            Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer.body.to_vec()),
            Ok(answer) => {
                let problem = crate::client::problem::read(answer.status, answer.body);
                if answer.status < 500 && answer.status != 429 {
                    return Err(problem.into());
                }
                last = problem.into();
            }
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}
