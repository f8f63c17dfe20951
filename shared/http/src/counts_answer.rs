//! How counts are answered: JSON or CSV, and what may be kept of it.
//!
//! Invariant: an answer that may still change has no tag and is kept by nobody; whose key it is for is part of what it is
//! kept under.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clickledger_core::service::metrics::{Freshness, MetricsPage, MetricsQuery, write_csv};

use crate::counts::Counts;
use crate::counts_query::{Asked, problem};
use crate::problem::{Kind, Problem};

/// Where a page of CSV, which has no room for it, says how to get the next one.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("clickledger-next-cursor");

impl Counts {
    pub(crate) async fn answer(
        &self,
        query: &MetricsQuery,
        asked: &Asked,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        let refused = |error| problem(error, Kind::InvalidParameter);
        let prepared = self.metrics.prepare(query).await.map_err(refused)?;
        let known = prepared.freshness();
        if let Some(tag) = etag(&known, asked.csv)
            && is_kept(headers, &tag)
        {
            return Ok(with_freshness(
                StatusCode::NOT_MODIFIED.into_response(),
                &known,
                asked.csv,
            ));
        }
        let (page, freshness) = self.metrics.answer(prepared).await.map_err(refused)?;
        let response = if asked.csv {
            table(&page, query.cursor.is_none())
        } else {
            Json(&page).into_response()
        };
        Ok(with_freshness(response, &freshness, asked.csv))
    }
}

/// Weak: answers of one tag have the same counts, but each says when it was read.
fn etag(freshness: &Freshness, csv: bool) -> Option<String> {
    let kind = if csv { 'c' } else { 'j' };
    freshness.tag().map(|tag| format!("W/\"{tag}{kind}\""))
}

/// Whether the client has the answer of this tag (RFC 9110, section 13.1.2): tags are compared weakly, and a header that is none
/// says nothing.
fn is_kept(headers: &HeaderMap, tag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let tag = strong(tag);
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|given| given.trim() == "*" || strong(given) == tag)
}

fn with_freshness(mut response: Response, freshness: &Freshness, csv: bool) -> Response {
    let headers = response.headers_mut();
    // A browser keeps answers for whoever sits before it: another key's must not be taken for them.
    headers.insert(
        header::VARY,
        HeaderValue::from_static("accept, authorization, cookie"),
    );
    let control = match freshness {
        Freshness::Live => "no-store",
        Freshness::Sealed(_) => "private, no-cache",
        Freshness::Closed(_) => "private, max-age=86400",
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
    if let Some(tag) = etag(freshness, csv).and_then(|tag| HeaderValue::try_from(tag).ok()) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn table(page: &MetricsPage, first: bool) -> Response {
    let mut csv = String::with_capacity(page.rows.len() * 64 + 256);
    // Writing to a string does not fail.
    let _ = write_csv(page, first, &mut csv);
    let mut response = csv.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/csv; charset=utf-8"),
    );
    if let Some(cursor) = page
        .meta
        .next_cursor
        .as_ref()
        .and_then(|cursor| HeaderValue::try_from(cursor).ok())
    {
        headers.insert(NEXT_CURSOR, cursor);
    }
    response
}
