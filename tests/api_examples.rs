//! The examples of docs/API.md, run word for word against a real server, by curl, Python and Node.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickledger_tests::http;
use clickledger_tests::server::{Server, command};
use clickledger_tests::until;
use serde_json::Value;

const PAGE: &str = include_str!("../docs/API.md");

/// A block of code and, if the page says it, what it prints.
struct Example {
    language: &'static str,
    code: String,
    printed: Option<String>,
}

/// The fenced blocks of the page: a `text` is what the one before it prints.
fn examples() -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut blocks = PAGE.split("\n```");
    blocks.next();
    while let Some(block) = blocks.next() {
        let (language, code) = block.split_once('\n').unwrap();
        let code = format!("{code}\n");
        match language {
            "text" => found.last_mut().unwrap().printed = Some(code),
            _ => found.push(Example {
                language,
                code,
                printed: None,
            }),
        }
        // What stands behind the closing fence.
        blocks.next();
    }
    found
}

/// Whether a text is what is expected, where `…` stands for anything.
fn fits(expected: &str, text: &str) -> bool {
    let mut rest = text;
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else {
        return false;
    };
    rest = after;
    for part in parts {
        let Some(place) = rest.find(part) else {
            return false;
        };
        rest = &rest[place + part.len()..];
    }
    rest.is_empty()
}

/// Three valid clicks and a forged one on one ad of advertiser 9.
fn clicked(server: &Server, key: &str) -> Result<String> {
    let run = |arguments: &[&str]| -> Result<Value> {
        let output = command()?
            .args(arguments)
            .arg("--json")
            .env("CLICKLEDGER_TARGET", server.url())
            .env("CLICKLEDGER_KEY", key)
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let ad = run(&[
        "ads",
        "create",
        "--advertiser",
        "9",
        "--campaign",
        "12",
        "--url",
        "https://example.com/",
        "--title",
        "Hello",
    ])?;
    let ad = ad["ad_id"].as_str().context("an ad has an id")?.to_owned();
    run(&["placements", "set", "home-top", "--ad", &ad])?;
    for token in [None, None, None, Some("forged")] {
        let token = match token {
            Some(token) => token.to_owned(),
            None => {
                let shown: Value =
                    serde_json::from_str(&http::get(server.url(), "/v1/placements/home-top", &[])?.body)?;
                shown["impression_token"].as_str().context("a token")?.to_owned()
            }
        };
        let answer = http::get(server.url(), &format!("/click?adId={ad}&imp={token}"), &[])?;
        ensure!(answer.status == 302, "{answer:?}");
    }
    until("all four clicks are counted", Duration::from_secs(20), || {
        let page = run(&["metrics", "ad", &ad, "--from", "-1h", "--granularity", "total"])?;
        Ok((page["totals"]["gross_clicks"] == 4).then_some(()))
    })?;
    Ok(ad)
}

#[test]
fn every_example_runs_as_it_stands_and_prints_what_the_page_says() -> Result<()> {
    let server = Server::start()?;
    let key = server.printed_key().context("a first start prints a key")?;
    let ad = clicked(&server, &key)?;
    let examples = examples();
    for language in ["sh", "python", "javascript"] {
        let of = examples.iter().filter(|example| example.language == language);
        assert!(of.count() >= 2, "examples in {language}");
    }
    for Example {
        language,
        code,
        printed,
    } in examples
    {
        let folder = tempfile::tempdir()?;
        let (program, file, arguments): (_, _, &[&str]) = match language {
            "sh" => ("bash", "example.sh", &["-euo", "pipefail"]),
            "python" => ("python3", "example.py", &[]),
            "javascript" => ("node", "example.mjs", &[]),
            other => panic!("an example in {other:?}"),
        };
        std::fs::write(folder.path().join(file), &code)?;
        let output = Command::new(program)
            .args(arguments)
            .arg(file)
            .current_dir(folder.path())
            .env("CLICKLEDGER_URL", server.url())
            .env("CLICKLEDGER_KEY", &key)
            .env("AD", &ad)
            .env("ADVERTISER", "9")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("running {program}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{code}\n{text}\n{errors}");
        // The page's ad is 731.
        let expected = printed
            .with_context(|| format!("what does it print?\n{code}"))?
            .replace("731", &ad);
        assert!(fits(&expected, &text), "{code}\nprinted\n{text}\nnot\n{expected}");
    }
    Ok(())
}

#[test]
fn a_text_fits_only_where_all_of_it_is_said() {
    assert!(fits("a,…,b\n", "a,x,y,b\n") && fits("a\n", "a\n"));
    for other in ["", "a,x", "a,x,b", "a,x,b\nc", "b,x,b\n"] {
        assert!(!fits("a,…,b\n", other), "{other:?}");
    }
}
