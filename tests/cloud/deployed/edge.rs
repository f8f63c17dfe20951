//! What API Gateway and the routers make of requests.

use anyhow::{Result, ensure};
use clickledger_tests::http::BROWSER;

use crate::lake::wait_for_records;
use crate::world::{LANDING, World};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

pub(crate) fn every_method_does_what_it_says(world: &World) -> Result<()> {
    let (_, ad, slot) = world.shown_ad()?;
    let browser = ("User-Agent", BROWSER);
    let api = &world.stack.api;
    let tokens = (0..4)
        .map(|_| Ok(world.show(&slot)?.token))
        .collect::<Result<Vec<_>>>()?;
    let link = |token: &str| format!("/click?adId={ad}&imp={token}");

    let looked = api.send("HEAD", &link(&tokens[0]), &[browser], "")?;
    ensure!(
        looked.status == 302 && looked.header("location") == Some(LANDING),
        "{looked:?}"
    );
    // The emulator answers preflights itself; on AWS, without CORS settings, they reach the router.
    api.send(
        "OPTIONS",
        &link(&tokens[0]),
        &[browser, ("Origin", "https://page.example")],
        "",
    )?;
    World::redirected(&api.send("GET", &link(&tokens[0]), &[browser], "")?)?;

    let beacons = [
        api.send(
            "POST",
            "/click",
            &[browser, FORM],
            &format!("adId={ad}&imp={}", tokens[1]),
        )?,
        api.send("POST", &link(&tokens[2]), &[browser], "")?,
        api.send(
            "POST",
            &format!("/click?imp={}", tokens[3]),
            &[browser, ("Content-Type", "text/plain;charset=UTF-8")],
            &format!("adId={ad}"),
        )?,
    ];
    for beacon in &beacons {
        ensure!(beacon.status == 204, "{beacon:?}");
        ensure!(
            beacon.header("access-control-allow-origin") == Some("*"),
            "{beacon:?}"
        );
        ensure!(
            beacon.header("location").is_none() && beacon.body.is_empty(),
            "{beacon:?}"
        );
    }
    let refused = api.send("DELETE", &link(&tokens[0]), &[browser], "")?;
    ensure!(refused.status == 405, "{refused:?}");
    world.counted(&ad, &[("valid", 4)]).map(drop)
}

/// Method, path, headers, body; status and type of the problem.
type Case<'a> = (&'a str, String, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

pub(crate) fn what_is_wrong_is_told_as_a_problem(world: &World) -> Result<()> {
    let (_, ad, _) = world.shown_ad()?;
    let key = format!("Bearer {}", world.admin);
    let (admin, json) = (
        ("Authorization", key.as_str()),
        ("Content-Type", "application/json"),
    );
    let cases: [Case<'_>; 10] = [
        ("GET", "/click".into(), &[], "", 400, "invalid-parameter"),
        (
            "GET",
            "/click?adId=seven".into(),
            &[],
            "",
            400,
            "invalid-parameter",
        ),
        ("GET", "/click?adId=77".into(), &[], "", 404, "not-found"),
        (
            "POST",
            format!("/click?adId={ad}"),
            &[json],
            "{}",
            415,
            "unsupported-media-type",
        ),
        ("GET", "/v1/ads".into(), &[], "", 401, "unauthorized"),
        ("GET", "/v1/ads/77".into(), &[admin], "", 404, "not-found"),
        (
            "POST",
            "/v1/ads".into(),
            &[admin, json],
            "{}",
            400,
            "invalid-body",
        ),
        (
            "DELETE",
            "/v1/placements".into(),
            &[admin],
            "",
            405,
            "method-not-allowed",
        ),
        (
            "GET",
            format!("/v1/ads/{ad}/metrics"),
            &[admin],
            "",
            400,
            "invalid-parameter",
        ),
        ("GET", "/v1/placements/nowhere".into(), &[], "", 404, "not-found"),
    ];
    for (method, path, headers, body, status, kind) in cases {
        let answer = world.stack.api.send(method, &path, headers, body)?;
        ensure!(answer.status == status, "{method} {path}: {answer:?}");
        ensure!(
            answer.header("content-type") == Some("application/problem+json"),
            "{method} {path}: {answer:?}"
        );
        let problem = answer.json()?;
        ensure!(
            problem["type"] == format!("/problems/{kind}"),
            "{method} {path}: {problem}"
        );
        ensure!(
            answer.header("referrer-policy") == Some("no-referrer"),
            "{answer:?}"
        );
    }
    for path in ["/healthz", "/readyz", "/v1/openapi.json"] {
        let answer = world.stack.api.send("GET", path, &[], "")?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
    }
    Ok(())
}

/// Without a proxy nobody is believed; with one, whoever brings its secret.
pub(crate) fn only_the_trusted_proxy_is_believed(world: &World) -> Result<()> {
    let (_, ad, slot) = world.shown_ad()?;
    let secret = match world.stack.output("ProxySecretArn") {
        Err(_) => None,
        Ok(arn) => {
            let get = world.stack.aws.secrets().get_secret_value().secret_id(arn).send();
            world.stack.wait(get)?.secret_string
        }
    };
    let trusted = secret.clone();
    let click = |secret: &str| -> Result<()> {
        let headers = [
            ("User-Agent", BROWSER),
            ("X-Forwarded-For", "203.0.113.77"),
            ("CloudFront-Viewer-Country", "NO"),
            ("X-Clickledger-Proxy-Secret", secret),
        ];
        World::redirected(&world.click_with(&ad, Some(&world.show(&slot)?.token), &headers)?)
    };
    click("a secret that somebody made up")?;
    click(secret.as_deref().unwrap_or("a secret that somebody made up"))?;
    world.counted(&ad, &[("valid", 2)])?;
    let records = wait_for_records(world, &ad, 2)?;
    let believed: Vec<_> = records
        .iter()
        .filter(|record| record["country"] == "NO" || record["network"] == "203.0.113.0/24")
        .collect();
    ensure!(believed.len() == usize::from(trusted.is_some()), "{records:?}");
    if let Some(record) = believed.first() {
        ensure!(record["country"] == "NO", "{record}");
        ensure!(record["network"] == "203.0.113.0/24", "{record}");
    }
    Ok(())
}
