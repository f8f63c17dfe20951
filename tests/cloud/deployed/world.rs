//! A deployed stack, and what a test does with it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clickledger_aws::SystemClock;
use clickledger_core::ports::Clock;
use clickledger_tests::http::BROWSER;
use clickledger_tests::until;
use clickledger_tests_cloud::api::Answer;
use clickledger_tests_cloud::stack::Stack;
use serde_json::{Value, json};
use url::Url;

/// From a click to its count, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Where every ad leads.
pub(crate) const LANDING: &str = "https://shop.example/landing?a=1&b=%20";

/// The stack.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) admin: String,
    next: AtomicU64,
}

/// One showing of an ad.
pub(crate) struct Shown {
    pub(crate) token: String,
    /// Where its link leads, as path and query behind the API's URL.
    pub(crate) link: String,
}

pub(crate) fn text(value: &Value) -> Result<String> {
    let text = value.as_str().map(str::to_owned);
    text.with_context(|| format!("{value} is no text"))
}

impl World {
    pub(crate) fn deploy(enforce: bool, parameters: &[&str]) -> Result<Self> {
        let stack = Stack::deploy(enforce, parameters)?;
        Ok(Self {
            admin: stack.output("AdminKey")?.to_owned(),
            stack,
            next: AtomicU64::new(1),
        })
    }

    /// A number that no other step has: of an advertiser, in a slot's name.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn now_ms() -> i64 {
        SystemClock.now_ms()
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> Result<Value> {
        self.stack.api.call(&self.admin, method, path, body, status)
    }

    /// A new ad of this advertiser.
    pub(crate) fn ad(&self, advertiser: u64) -> Result<String> {
        let new = json!({
            "advertiser_id": advertiser.to_string(), "campaign_id": (1000 + advertiser).to_string(),
            "redirect_url": LANDING, "title": "An offer",
        });
        text(&self.call("POST", "/v1/ads", Some(&new), 201)?["ad_id"])
    }

    /// A new slot that shows this ad alone: its name and its placement's id.
    pub(crate) fn slot(&self, ad: &str) -> Result<(String, String)> {
        let slot = format!("slot-{}", self.number());
        let entries = json!({ "entries": [{ "ad_id": ad, "weight": 1 }] });
        let path = format!("/v1/placements/{slot}");
        let answer = self.stack.api.send(
            "PUT",
            &path,
            &[
                ("Authorization", &format!("Bearer {}", self.admin)),
                ("Content-Type", "application/json"),
            ],
            &entries.to_string(),
        )?;
        ensure!(
            answer.status < 300,
            "PUT {path}: {} {}",
            answer.status,
            answer.body
        );
        Ok((slot, text(&answer.json()?["placement_id"])?))
    }

    /// A new ad of a new advertiser, alone in a slot: the advertiser, the ad, the slot.
    pub(crate) fn shown_ad(&self) -> Result<(u64, String, String)> {
        let advertiser = self.number();
        let ad = self.ad(advertiser)?;
        let (slot, _) = self.slot(&ad)?;
        Ok((advertiser, ad, slot))
    }

    /// A new impression of a slot, as anybody gets it.
    pub(crate) fn show(&self, slot: &str) -> Result<Shown> {
        let path = format!("/v1/placements/{slot}");
        let answer = self
            .stack
            .api
            .send("GET", &path, &[("User-Agent", BROWSER)], "")?;
        ensure!(
            answer.status == 200,
            "GET {path}: {} {}",
            answer.status,
            answer.body
        );
        let shown = answer.json()?;
        let base = Url::parse(&format!("{}{path}", self.stack.api.url()))?;
        let link = base.join(&text(&shown["click_url"])?)?;
        let link = link.as_str().strip_prefix(self.stack.api.url());
        Ok(Shown {
            token: text(&shown["impression_token"])?,
            link: link.context("the link leads to another site")?.to_owned(),
        })
    }

    /// A click of a browser.
    pub(crate) fn click(&self, ad: &str, token: Option<&str>) -> Result<Answer> {
        self.click_with(ad, token, &[("User-Agent", BROWSER)])
    }

    /// A click with these headers. Where nobody knows an ad in time (503, nothing is recorded), whoever clicked comes again.
    pub(crate) fn click_with(
        &self,
        ad: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let imp = token.map(|token| format!("&imp={token}")).unwrap_or_default();
        let path = format!("/click?adId={ad}{imp}");
        until("the ad is known", PATIENCE, || {
            let answer = self.stack.api.send("GET", &path, headers, "")?;
            Ok((answer.status != 503).then_some(answer))
        })
    }

    /// Puts into the spill what only the log has, as an operator does: on a busy machine stream and spill may both be too slow.
    /// Says how many there are.
    pub(crate) fn redrive(&self) -> Result<usize> {
        let bodies = self.last_resort()?;
        for body in &bodies {
            let put = self.stack.aws.sqs().send_message().message_body(body);
            let put = put.queue_url(self.stack.output("SpillQueueUrl")?);
            self.stack.wait(put.send())?;
        }
        Ok(bodies.len())
    }

    /// Every record that only the log has, as the spill takes it.
    pub(crate) fn last_resort(&self) -> Result<Vec<String>> {
        let lines = self.stack.log("click")?;
        let events = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(events
            .filter_map(|event| event["last_resort_record"].as_str().map(str::to_owned))
            .collect())
    }

    /// A click that must be redirected, and recorded.
    pub(crate) fn redirected(answer: &Answer) -> Result<()> {
        ensure!(answer.status == 302, "{} {}", answer.status, answer.body);
        ensure!(answer.header("location") == Some(LANDING), "{:?}", answer.headers);
        ensure!(
            answer.header("clickledger-recorded").is_none(),
            "{:?}",
            answer.headers
        );
        Ok(())
    }

    /// The counts of an entity (`ads/7`, `metrics/total`) by the minute, of the last and the next minutes.
    pub(crate) fn metrics(&self, key: &str, of: &str, more: &str) -> Result<Value> {
        let at = |ms: i64| -> Result<String> { Ok(jiff::Timestamp::from_millisecond(ms)?.to_string()) };
        let now_ms = Self::now_ms() / 60_000 * 60_000;
        let (from, to) = (at(now_ms - 3_600_000)?, at(now_ms + 60_000)?);
        let path = if of == "total" {
            "/v1/metrics/total".to_owned()
        } else {
            format!("/v1/{of}/metrics")
        };
        let path = format!("{path}?from={from}&to={to}&granularity=minute{more}");
        self.stack.api.call(key, "GET", &path, None, 200)
    }

    /// Waits until an ad has so many clicks of each verdict (valid ones among them) and no other; answers the metrics.
    pub(crate) fn counted(&self, ad: &str, wanted: &[(&str, u64)]) -> Result<Value> {
        let wanted: BTreeMap<&str, u64> = wanted.iter().copied().collect();
        let gross: u64 = wanted.values().sum();
        let mut seen = Value::Null;
        let mut wait = |limit| {
            until("the clicks are counted", limit, || {
                seen = self.metrics(&self.admin, &format!("ads/{ad}"), "")?;
                Ok((seen["totals"]["gross_clicks"].as_u64() >= Some(gross)).then(|| seen.clone()))
            })
        };
        let counted = wait(PATIENCE / 3).or_else(|_| {
            self.redrive()?;
            wait(PATIENCE)
        });
        let metrics = counted.with_context(|| format!("ad {ad} wants {wanted:?}, has {}", seen["totals"]))?;
        let totals = &metrics["totals"];
        let mut found: BTreeMap<&str, u64> = BTreeMap::new();
        for (verdict, count) in totals["invalid_by_verdict"].as_object().context("verdicts")? {
            found.insert(verdict, count.as_u64().context("a count")?);
        }
        found.insert("valid", totals["clicks"].as_u64().context("clicks")?);
        found.retain(|_, count| *count > 0);
        ensure!(found == wanted, "ad {ad} wants {wanted:?}, has {found:?}");
        Ok(metrics)
    }

    /// The API key of an advertiser.
    pub(crate) fn advertiser_key(&self, advertiser: u64) -> Result<(String, String)> {
        let new = json!({ "scope": "advertiser", "advertiser_id": advertiser.to_string() });
        let made = self.call("POST", "/v1/keys", Some(&new), 201)?;
        Ok((text(&made["key_id"])?, text(&made["key"])?))
    }

    /// What the functions have warned of, for whoever has to find out why a step failed.
    pub(crate) fn warnings(&self) -> String {
        let mut said = String::new();
        for function in clickledger_tests_cloud::functions::ALL {
            for line in self.stack.log(function).unwrap_or_default() {
                if ["\"WARN\"", "\"ERROR\"", "panicked", "Error"]
                    .iter()
                    .any(|word| line.contains(word))
                {
                    said.push_str(&format!("{function}: {line}\n"));
                }
            }
        }
        said
    }

    /// Restarts a function with a changed variable; answers what its variables were.
    pub(crate) fn with_variables(
        &self,
        function: &str,
        change: &[(&str, &str)],
    ) -> Result<BTreeMap<String, String>> {
        let name = self.stack.output(function)?;
        let before = self.stack.environment(name)?;
        let mut changed = before.clone();
        for (variable, value) in change {
            if changed
                .insert((*variable).to_owned(), (*value).to_owned())
                .is_none()
                && *variable != MARK
            {
                bail!("{function} has no variable {variable}");
            }
        }
        self.stack.set_environment(name, &changed)?;
        Ok(before)
    }
}

/// A variable that means nothing: setting it starts new environments.
pub(crate) const MARK: &str = "CLICKLEDGER_TESTS_MARK";
