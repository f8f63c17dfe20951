//! The dashboard's page: files from the binary. What it shows it asks of the API, by the session's cookie.
//!
//! Its files lie in a folder that is named after what is in them, so that a browser keeps them for good and never mixes those of
//! two versions; only the page itself is asked for again.
//!
//! Invariant: the files are the same for everybody: there is nothing in them to be kept secret.

use std::fmt::Write;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;

use crate::assets::{Asset, CSS, HTML, ICON, JS, SVG, UPLOT};
use crate::problem::{Kind, Problem};

macro_rules! module {
    ($name:literal) => {
        (
            concat!($name, ".js"),
            JS,
            include_str!(concat!("../assets/dashboard/", $name, ".js")),
        )
    };
}

const PAGE: &str = include_str!("../assets/dashboard/index.html");
const STYLE: (&str, &str, &str) = (
    "dashboard.css",
    CSS,
    include_str!("../assets/dashboard/dashboard.css"),
);
const MODULES: [(&str, &str, &str); 17] = [
    module!("main"),
    module!("api"),
    module!("breakdowns"),
    module!("chart"),
    module!("counts"),
    module!("csv"),
    module!("directory"),
    module!("dom"),
    module!("operations"),
    module!("picker"),
    module!("proof"),
    module!("signin"),
    module!("tiles"),
    module!("time"),
    module!("toolbar"),
    module!("view"),
    module!("words"),
];
/// What a browser may keep for good: another content has another address.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// The page and its files, worked out once.
struct Dashboard {
    version: String,
    etag: HeaderValue,
    page: Asset,
    files: Vec<(&'static str, Asset)>,
}

static DASHBOARD: LazyLock<Dashboard> = LazyLock::new(Dashboard::new);

impl Dashboard {
    fn new() -> Self {
        let files: Vec<(&str, &str, &str)> = MODULES
            .into_iter()
            .chain(UPLOT)
            .chain([STYLE, ("icon.svg", SVG, ICON)])
            .collect();
        let version = digest(files.iter().flat_map(|(name, _, text)| [*name, *text]));
        let folder = format!("dashboard/{version}");
        // All at once: a module that is only found in another module would wait for that one.
        let preloads = MODULES
            .iter()
            .skip(1)
            .fold(String::new(), |mut lines, (name, ..)| {
                // Writing to a string does not fail.
                let _ = writeln!(lines, "<link rel=\"modulepreload\" href=\"{folder}/{name}\">");
                lines
            });
        let page = PAGE
            .replace("{preloads}", preloads.trim_end())
            .replace("{assets}", &folder);
        let etag = format!("\"{}\"", digest([page.as_str()]));
        Self {
            version,
            // Hexadecimal digits between quotes are a header's value.
            etag: HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\"")),
            page: Asset::new(HTML, page),
            files: files
                .into_iter()
                .map(|(name, media_type, text)| (name, Asset::new(media_type, text)))
                .collect(),
        }
    }
}

/// Names a content: the first 64 bits of its SHA-256, in hexadecimal digits.
fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize()
        .iter()
        .take(8)
        .fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        })
}

/// `/dashboard` and the files of the page.
pub fn dashboard_router() -> OpenApiRouter {
    let router = Router::new()
        .route("/dashboard", get(page))
        .route("/dashboard/", get(without_slash))
        .route("/dashboard/{version}/{*name}", get(file));
    // Not of the API: it is not in its description.
    OpenApiRouter::from(router)
}

async fn page(headers: HeaderMap) -> Response {
    DASHBOARD.page.answer(&headers, &DASHBOARD.etag, ASK_AGAIN)
}

/// Relative: the page may live under a path prefix.
async fn without_slash() -> impl IntoResponse {
    let location = HeaderValue::from_static("../dashboard");
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)])
}

async fn file(
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = DASHBOARD.files.iter().find(|(known, _)| *known == name);
    match found {
        Some((_, asset)) if version == DASHBOARD.version => {
            Ok(asset.answer(&headers, &DASHBOARD.etag, FOR_GOOD))
        }
        _ => Err(Problem::new(Kind::NotFound, "there is no such resource")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_and_its_modules_name_is_served() {
        let names: Vec<&str> = DASHBOARD.files.iter().map(|(name, _)| *name).collect();
        for (of, _, text) in MODULES {
            for line in text.lines() {
                if let Some((_, rest)) = line.split_once(" from \"./") {
                    let name = rest.split('"').next().unwrap();
                    assert!(names.contains(&name), "{of} imports {name}");
                }
            }
        }
        for rest in PAGE.split("\"{assets}/").skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(names.contains(&name), "the page names {name}");
        }
    }

    #[test]
    fn every_file_in_the_folder_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/dashboard");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let served = name == "index.html" || DASHBOARD.files.iter().any(|(known, _)| *known == name);
            assert!(served || name == "README.md", "{name}");
        }
    }
}
