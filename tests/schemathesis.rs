//! The API against its own description: schemathesis makes requests from `/v1/openapi.json`, good ones and bad ones, for every endpoint,
//! and holds each answer against what is described. No answer may be of the 5xx, none of another status, type, header or shape than
//! described, and what the description rules out must be refused.
//!
//! Seeded: a run can be had again. It is installed by `scripts/emulator-venv schemathesis`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clickledger_tests::http;
use clickledger_tests::server::{Server, command};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn installed() -> Result<PathBuf> {
    let output = Command::new(Path::new(ROOT).join("scripts/emulator-venv"))
        .arg("schemathesis")
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let venv = String::from_utf8(output.stdout)?;
    Ok(Path::new(venv.trim()).join("bin/schemathesis"))
}

/// It checks all that it can but this: whether a request without a key is refused is for `tests/http/tenants.rs`, which knows which endpoints
/// are open; what is described need not be all that is asked of a request (that a range is not too long, that a title is no URL); and what
/// may be asked of a slot by other pages is the same whatever the slot is called.
const SETTINGS: &str = r#"
[checks]
ignored_auth.enabled = false
positive_data_acceptance.enabled = false

[[operations]]
include-method = "OPTIONS"
checks.negative_data_rejection.enabled = false
"#;

/// Which requests it makes.
struct Tries {
    phases: &'static str,
    seed: u64,
    examples: u32,
    endpoints: &'static [&'static str],
    /// At least so many operations must have been tried.
    least: u64,
}

/// Endpoints that change keys. It learns ids from what it is answered, so beside the list of keys it would revoke the key that it comes
/// with, and find everything refused from then on.
const WITHOUT_KEYS: &[&str] = &[
    "--exclude-path",
    "/v1/keys/{key_id}",
    "--exclude-path",
    "/v1/keys/{key_id}/rotate",
];
/// Those alone.
const KEYS: &[&str] = &[
    "--include-path",
    "/v1/keys/{key_id}",
    "--include-path",
    "/v1/keys/{key_id}/rotate",
];

/// Tries the endpoints of a server that has ads, slots, counts and reports.
fn answers_as_described(tries: &Tries) -> Result<()> {
    let program = installed()?;
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let made = command()?
        .args(["demo", "--days", "3", "--clicks", "1000", "--json", "--data"])
        .arg(&data)
        .output()?;
    ensure!(made.status.success(), "{made:?}");
    let made: Value = serde_json::from_slice(&made.stdout)?;
    let authorization = format!("Bearer {}", made["admin_key"].as_str().context("a key")?);
    let server = Server::start_with(&data, "127.0.0.1:0", &[])?;
    std::fs::write(dir.path().join("settings.toml"), SETTINGS)?;
    let (seed, examples) = (tries.seed.to_string(), tries.examples.to_string());
    let output = Command::new(program)
        .current_dir(dir.path())
        .args(["--config-file", "settings.toml"])
        .args([
            "run",
            "--no-color",
            "--continue-on-failure",
            "--phases",
            tries.phases,
        ])
        .args([
            "--generation-with-security-parameters",
            "false",
            "--generation-database",
            "none",
        ])
        // How long a busy machine takes says nothing about the API.
        .args(["--suppress-health-check", "all"])
        .args(["--seed", &seed, "--max-examples", &examples])
        .args(["--header", &format!("Authorization: {authorization}")])
        .args(tries.endpoints)
        .arg(format!("{}/v1/openapi.json", server.url()))
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "seed {seed}:\n{said}\n{}\nthe server said:\n{}",
        String::from_utf8_lossy(&output.stderr),
        server.lines().join("\n")
    );
    // It did what it is here for, with a key that opened everything to the end.
    ensure!(figure(&said, "Tested:") >= Some(tries.least), "{said}");
    let keys = http::get(
        server.url(),
        "/v1/keys",
        &[("Authorization", authorization.as_str())],
    )?;
    ensure!(keys.status == 200, "the key was revoked on the way: {said}");
    Ok(())
}

/// The first number after a word of the summary.
fn figure(said: &str, word: &str) -> Option<u64> {
    let rest = said.lines().find_map(|line| line.trim().strip_prefix(word))?;
    rest.split(|c: char| !c.is_ascii_digit())
        .find(|part| !part.is_empty())?
        .parse()
        .ok()
}

#[test]
fn every_endpoint_answers_as_it_is_described() -> Result<()> {
    answers_as_described(&Tries {
        phases: "examples,coverage,fuzzing",
        seed: 1,
        examples: 8,
        endpoints: WITHOUT_KEYS,
        least: 28,
    })
}

#[test]
fn endpoints_that_change_keys_answer_as_they_are_described() -> Result<()> {
    answers_as_described(&Tries {
        phases: "examples,coverage,fuzzing",
        seed: 1,
        examples: 20,
        endpoints: KEYS,
        least: 3,
    })
}

#[test]
#[ignore = "long: hundreds of requests for each endpoint, minutes"]
fn every_endpoint_answers_many_requests_as_it_is_described() -> Result<()> {
    answers_as_described(&Tries {
        phases: "examples,coverage,fuzzing",
        seed: 2,
        examples: 150,
        endpoints: WITHOUT_KEYS,
        least: 28,
    })
}

#[test]
#[ignore = "long: chains of requests, each made with what the one before it answered"]
fn chains_of_requests_are_answered_as_described() -> Result<()> {
    answers_as_described(&Tries {
        phases: "stateful",
        seed: 3,
        examples: 30,
        endpoints: WITHOUT_KEYS,
        least: 5,
    })
}
