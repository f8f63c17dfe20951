//! An ad as a fragment of HTML: one anchor.
//!
//! Invariant: whatever an advertiser wrote stays text or the value of one attribute.

use std::fmt::Write;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use clickledger_core::domain::ad::Ad;

/// What an ad without a title is called.
const UNTITLED: &str = "Advertisement";

/// The ad's anchor. Its link is relative to the address of the answer, so it belongs into a frame of that address.
pub(crate) fn fragment(ad: &Ad, click_url: &str) -> Response {
    let mut response = Response::new(Body::from(anchor(ad, click_url)));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    // Should anything ever get through, it runs nothing.
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; img-src http: https:; base-uri 'none'; form-action 'none'",
        ),
    );
    response
}

fn anchor(ad: &Ad, click_url: &str) -> String {
    let mut html = String::with_capacity(400);
    html.push_str("<a href=\"");
    escape(click_url, &mut html);
    let _ = write!(
        html,
        "\" target=\"_blank\" rel=\"sponsored noopener\" data-ad=\"{}\">",
        ad.ad_id
    );
    if let Some(image) = &ad.image_url {
        html.push_str("<img src=\"");
        escape(image.as_str(), &mut html);
        html.push_str("\" alt=\"");
        // The title stands beside it, if there is one.
        html.push_str(if ad.title.is_some() { "" } else { UNTITLED });
        html.push_str("\">");
    }
    match (&ad.title, &ad.image_url) {
        (Some(title), _) => {
            html.push_str("<span>");
            escape(title, &mut html);
            html.push_str("</span>");
        }
        (None, Some(_)) => {}
        (None, None) => {
            html.push_str("<span>");
            html.push_str(UNTITLED);
            html.push_str("</span>");
        }
    }
    html.push_str("</a>\n");
    html
}

/// The five characters that can end a text or a quoted attribute.
fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}
