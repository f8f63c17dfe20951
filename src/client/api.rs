//! The HTTP API as the client commands call it.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, Response};
use url::Url;

use super::problem;
use crate::config::TargetArgs;

const LIMIT: Duration = Duration::from_secs(60);
/// A page of metrics has at most 10,000 rows, of well under a kilobyte.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// A server, and what opens it.
pub(super) struct Api {
    agent: Agent,
    base: Url,
    authorization: Option<String>,
}

/// A successful answer.
pub(super) struct Answer {
    /// Its body; `null` where it has none.
    pub(super) json: Value,
}

impl Api {
    /// With the target's key.
    pub(super) fn new(target: &TargetArgs) -> Result<Self> {
        let mut api = Self::without_key(target)?;
        api.authorization = Some(format!("Bearer {}", target.key()?));
        Ok(api)
    }

    /// For what is open to everybody.
    pub(super) fn without_key(target: &TargetArgs) -> Result<Self> {
        let base = target.url()?;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(LIMIT))
            .user_agent(concat!("clickledger/", env!("CARGO_PKG_VERSION")));
        if base.scheme() == "http" {
            // A proxy of the environment is for the world outside; a plain target is near.
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            base,
            authorization: None,
        })
    }

    /// The URL of a path such as `["v1", "ads", id]`.
    pub(super) fn url(&self, path: &[&str]) -> Result<Url> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .ok()
            .context("the target is no base of URLs")?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    pub(super) fn get(&self, url: &Url) -> Result<Answer> {
        self.call("GET", url, None, None)
    }

    pub(super) fn send(&self, method: &str, url: &Url, body: Option<&Value>) -> Result<Answer> {
        self.call(method, url, body, None)
    }

    /// `if_match` is the version that is to be changed, if only that one is.
    pub(super) fn call(
        &self,
        method: &str,
        url: &Url,
        body: Option<&Value>,
        if_match: Option<u64>,
    ) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header("Accept", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        if let Some(version) = if_match {
            request = request.header("If-Match", format!("\"{version}\""));
        }
        let response = match body {
            Some(body) => {
                let media = if method == "PATCH" {
                    "application/merge-patch+json"
                } else {
                    "application/json"
                };
                self.agent
                    .run(request.header("Content-Type", media).body(body.to_string())?)
            }
            None => self.agent.run(request.body(())?),
        };
        let mut response = response.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let body = read(&mut response)?;
        if !status.is_success() {
            return Err(problem::read(status.as_u16(), &body).into());
        }
        let json = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).context("the server's answer is not JSON")?
        };
        Ok(Answer { json })
    }

    fn unreachable(&self, error: ureq::Error) -> anyhow::Error {
        let refused = matches!(&error, ureq::Error::Io(io) if io.kind() == io::ErrorKind::ConnectionRefused);
        let error = anyhow::Error::from(error).context(format!("{} cannot be reached", self.base));
        if refused {
            error.context("is `clickledger serve` running? (--target or CLICKLEDGER_TARGET says where)")
        } else {
            error
        }
    }

    /// Follows pages of `{"items": […], "next_cursor": …}` up to `limit` items.
    pub(super) fn items(&self, url: &Url, limit: usize) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut page = url.clone();
            let wanted = limit.saturating_sub(items.len()).min(100);
            page.query_pairs_mut().append_pair("limit", &wanted.to_string());
            if let Some(cursor) = &cursor {
                page.query_pairs_mut().append_pair("cursor", cursor);
            }
            let mut answer = self.get(&page)?.json;
            if let Some(Value::Array(more)) = answer.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            cursor = answer["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || items.len() >= limit {
                return Ok(items);
            }
        }
    }
}

fn read(response: &mut Response<ureq::Body>) -> Result<Vec<u8>> {
    Ok(response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER_BYTES)
        .read_to_vec()?)
}
