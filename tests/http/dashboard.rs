//! The dashboard's files: how they are served and kept.

use std::io::Read;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use flate2::read::GzDecoder;

use crate::world::{Answer, World, get};

async fn with(world: &World, path: &str, header: &str, value: &str) -> Answer {
    let request = Request::builder().uri(path).header(header, value);
    world.send(request.body(Body::empty()).unwrap()).await
}

/// Every address of a file that the page names.
fn named(page: &str) -> Vec<String> {
    let parts = page.split("=\"dashboard/").skip(1);
    parts
        .map(|rest| format!("/dashboard/{}", rest.split('"').next().unwrap()))
        .collect()
}

#[tokio::test]
async fn page_and_files_are_served_under_a_strict_policy_and_the_files_may_be_kept_for_good() {
    let world = World::new().await;
    let page = world.send(get("/dashboard")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert!(page.text().starts_with("<!doctype html>"), "{}", page.text());
    assert!(!page.text().contains('{'), "every place is filled");
    assert!(
        !page.text().contains("style=") && !page.text().contains("onclick"),
        "nothing inline"
    );
    let files = named(&page.text());
    assert!(files.len() > 18, "{files:?}");
    for path in &files {
        let answer = world.send(get(path)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(
            answer.header("cache-control"),
            Some("public, max-age=31536000, immutable"),
            "{path}"
        );
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        let media_type = answer.header("content-type").unwrap();
        let expected = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{other}"),
        };
        assert_eq!(media_type, expected, "{path}");
    }
}

#[tokio::test]
async fn whoever_reads_gzip_gets_it_and_whoever_has_the_page_gets_nothing() {
    let world = World::new().await;
    let plain = world.send(get("/dashboard")).await;
    let mut paths = named(&plain.text());
    paths.push("/dashboard".to_owned());
    for path in &paths {
        let plain = world.send(get(path)).await;
        let packed = with(&world, path, "accept-encoding", "br, gzip").await;
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{path}");
        for answer in [&plain, &packed] {
            assert_eq!(answer.header("vary"), Some("accept-encoding"), "{path}");
        }
        let mut read = Vec::new();
        GzDecoder::new(&packed.body[..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, plain.body, "{path}");

        let known = with(&world, path, "if-none-match", plain.header("etag").unwrap()).await;
        assert_eq!(known.status, StatusCode::NOT_MODIFIED, "{path}");
        assert!(known.body.is_empty(), "{path}");
        let other = with(&world, path, "if-none-match", "\"other\"").await;
        assert_eq!(other.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn what_is_no_file_of_this_version_is_not_found() {
    let world = World::new().await;
    let page = world.send(get("/dashboard")).await;
    let main = named(&page.text())
        .into_iter()
        .find(|path| path.ends_with("/main.js"))
        .unwrap();
    let folder = main.trim_end_matches("/main.js").to_owned();
    for path in [
        "/dashboard/0123456789abcdef/main.js".to_owned(),
        "/dashboard/main.js".to_owned(),
        format!("{folder}/README.md"),
        format!("{folder}/index.html"),
        format!("{folder}/uplot"),
        format!("{folder}/..%2fmain.js"),
        format!("{folder}/uplot/../main.js"),
    ] {
        world.send(get(&path)).await.problem(404, "not-found");
    }
    let slash = world.send(get("/dashboard/")).await;
    assert_eq!(slash.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(slash.header("location"), Some("../dashboard"));
    world
        .ask("POST", "/dashboard", None)
        .await
        .problem(405, "method-not-allowed");
}
