//! The `clickledger` command as its users meet it: the server's start, stop and settings, the client commands, `load`.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickledger_tests::http::{self, Answer};
use clickledger_tests::server::{Server, command};
use clickledger_tests::until;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
/// A well-formed key that no server has made.
const KEY: &str = "clk_AAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A client of one server.
struct Client {
    url: String,
    key: String,
}

impl Client {
    fn of(server: &Server) -> Result<Self> {
        Ok(Self {
            url: server.url().to_owned(),
            key: server.printed_key().context("a first start prints a key")?,
        })
    }

    fn output(&self, arguments: &[&str]) -> Result<Output> {
        Ok(command()?
            .args(arguments)
            .env("CLICKLEDGER_TARGET", &self.url)
            .env("CLICKLEDGER_KEY", &self.key)
            .stdin(Stdio::null())
            .output()?)
    }

    /// What a command prints that must succeed.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {} {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<_> = arguments.iter().copied().chain(["--json"]).collect();
        Ok(serde_json::from_str(&self.run(&arguments)?)?)
    }

    /// An ad of advertiser 9, alone in a slot.
    fn ad(&self, slot: &str) -> Result<String> {
        let ad = self.json(&[
            "ads",
            "create",
            "--advertiser",
            "9",
            "--campaign",
            "12",
            "--url",
            "https://example.com/landing",
            "--title",
            "Hello",
        ])?;
        let id = text(&ad["ad_id"]);
        self.run(&["placements", "set", slot, "--ad", &id])?;
        Ok(id)
    }

    /// Clicks on a new impression of a slot.
    fn click(&self, slot: &str) -> Result<Answer> {
        let shown = self.json(&["placements", "show", slot])?;
        let path = format!(
            "/click?adId={}&imp={}",
            text(&shown["ad_id"]),
            text(&shown["impression_token"])
        );
        http::get(&self.url, &path, &[])
    }

    fn totals(&self, ad: &str) -> Result<Value> {
        Ok(self.json(&["metrics", "ad", ad, "--from", "-1h"])?["totals"].take())
    }

    fn wait_for_clicks(&self, ad: &str, clicks: u64) -> Result<()> {
        until("the clicks are counted", PATIENCE, || {
            Ok((self.totals(ad)?["clicks"] == clicks).then_some(()))
        })
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A server that must not start: its exit code and what it says.
fn refused(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
    let output = command()?
        .args(["serve", "--data"])
        .arg(data)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

#[test]
fn the_first_start_prints_address_folder_and_key_and_later_ones_no_key() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("made/by/serve");
    let server = Server::start_with(&data, "127.0.0.1:0", &[])?;
    let client = Client::of(&server)?;
    until("the data folder on its output", PATIENCE, || {
        let named = |line: &String| line.contains(&data.display().to_string());
        Ok(server.lines().iter().any(named).then_some(()))
    })?;
    let demo = format!("{}/demo", server.url());
    until("the demo page's address on its output", PATIENCE, || {
        Ok(server
            .lines()
            .iter()
            .any(|line| line.contains(&demo))
            .then_some(()))
    })?;
    let ad = client.ad("home-top")?;
    assert!(server.stop()?.success());

    let again = Server::start_with(&data, "127.0.0.1:0", &[])?;
    assert_eq!(http::get(again.url(), "/readyz", &[])?.status, 200);
    assert_eq!(again.printed_key(), None);
    let client = Client {
        url: again.url().to_owned(),
        ..client
    };
    assert_eq!(client.json(&["ads", "get", &ad])?["title"], "Hello");
    Ok(())
}

#[test]
fn an_administration_key_from_the_environment_opens_and_none_is_printed() -> Result<()> {
    let data = tempfile::tempdir()?;
    let key = command()?.args(["keys", "generate"]).output()?;
    let key = String::from_utf8(key.stdout)?.trim().to_owned();
    let environment = [("CLICKLEDGER_ADMIN_KEY", key.as_str())];
    // Not a loopback address: without a key it would not start.
    let (code, said) = refused(data.path(), &["--listen", "0.0.0.0:0"], &[])?;
    assert_eq!(code, Some(1));
    assert!(said.contains("CLICKLEDGER_ADMIN_KEY"), "{said}");
    let server = Server::start_in(data.path(), "0.0.0.0:0", &[], &environment)?;
    let url = server.url().replace("0.0.0.0", "127.0.0.1");
    let client = Client { url, key };
    assert_eq!(
        client.json(&["keys", "list"])?["items"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(server.printed_key(), None);
    assert_eq!(http::get(&client.url, "/demo/session", &[])?.status, 404);
    Ok(())
}

#[test]
fn a_bad_setting_is_named_with_its_source_and_what_it_must_be() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "log_format = \"xml\"\n")?;
    let file = file.to_str().unwrap();
    for (arguments, environment, words) in [
        (
            vec!["--listen", "here"],
            vec![],
            vec!["listen", "\"here\"", "--listen", "127.0.0.1:8080"],
        ),
        (
            vec!["--shards", "0"],
            vec![],
            vec!["shards", "--shards", "1 to 1024"],
        ),
        (
            vec![],
            vec![("CLICKLEDGER_SHARDS", "two")],
            vec!["shards", "\"two\"", "CLICKLEDGER_SHARDS"],
        ),
        (
            vec![],
            vec![("CLICKLEDGER_LOG_FORMAT", "xml")],
            vec!["CLICKLEDGER_LOG_FORMAT", "json or text"],
        ),
        (
            vec!["--config", file],
            vec![],
            vec!["log_format", "\"xml\"", file],
        ),
        (
            vec![],
            vec![("CLICKLEDGER_CONFIG", file)],
            vec!["log_format", file],
        ),
        (vec!["--config", "/nowhere.toml"], vec![], vec!["/nowhere.toml"]),
        (
            vec![],
            vec![("CLICKLEDGER_ADMIN_KEY", "secret")],
            vec!["CLICKLEDGER_ADMIN_KEY", "clk_"],
        ),
        (
            vec!["--proxy-hops", "1"],
            vec![],
            vec!["CLICKLEDGER_PROXY_SECRET"],
        ),
        (
            vec![],
            vec![("CLICKLEDGER_PROXY_SECRET", "short")],
            vec!["CLICKLEDGER_PROXY_SECRET", "16"],
        ),
        (
            vec![],
            vec![("CLICKLEDGER_PROXY_SECRET", "0123456789abcdef")],
            vec!["CLICKLEDGER_PROXY_HOPS"],
        ),
        (vec!["--max-connections", "0"], vec![], vec!["--max-connections"]),
    ] {
        let (code, said) = refused(&folder.path().join("data"), &arguments, &environment)?;
        assert_eq!(code, Some(2), "{arguments:?} {environment:?}: {said}");
        for word in words {
            assert!(
                said.contains(word),
                "{arguments:?} {environment:?}: no {word} in {said}"
            );
        }
        assert!(!said.contains("abcdef"), "a secret is shown: {said}");
    }
    assert!(!folder.path().join("data").exists());
    Ok(())
}

#[test]
fn a_folder_that_is_in_use_or_of_another_schema_is_refused_and_says_so() -> Result<()> {
    let data = tempfile::tempdir()?;
    let server = Server::start_with(data.path(), "127.0.0.1:0", &[])?;
    let (code, said) = refused(data.path(), &["--listen", "127.0.0.1:0"], &[])?;
    assert_eq!(code, Some(1));
    assert!(said.contains("in use by another clickledger process"), "{said}");
    let taken = server.url().trim_start_matches("http://").to_owned();
    let (code, said) = refused(&data.path().join("other"), &["--listen", &taken], &[])?;
    assert_eq!(code, Some(1));
    assert!(said.contains(&taken), "{said}");
    assert!(server.stop()?.success());

    let database = rusqlite::Connection::open(data.path().join("clickledger.db"))?;
    database.execute("UPDATE meta SET value = 99 WHERE key = 'schema_version'", [])?;
    drop(database);
    let (code, said) = refused(data.path(), &["--listen", "127.0.0.1:0"], &[])?;
    assert_eq!(code, Some(1));
    assert!(said.contains("schema version 99"), "{said}");
    Ok(())
}

#[test]
fn a_click_just_before_sigterm_is_counted() -> Result<()> {
    let data = tempfile::tempdir()?;
    let server = Server::start_with(data.path(), "127.0.0.1:0", &[])?;
    let client = Client::of(&server)?;
    let ad = client.ad("home-top")?;
    let answer = client.click("home-top")?;
    assert_eq!(answer.status, 302);
    assert!(server.stop()?.success());

    let server = Server::start_with(data.path(), "127.0.0.1:0", &[])?;
    let client = Client {
        url: server.url().to_owned(),
        ..client
    };
    // It was counted before the end, so it is there at once.
    assert_eq!(client.totals(&ad)?["clicks"], 1);
    assert_eq!(client.click("home-top")?.status, 302);
    client.wait_for_clicks(&ad, 2)
}

#[test]
fn from_an_ad_to_its_counts_by_commands_alone() -> Result<()> {
    let server = Server::start()?;
    let client = Client::of(&server)?;
    let ad = client.ad("home-top")?;
    for _ in 0..3 {
        let answer = client.click("home-top")?;
        assert_eq!(answer.status, 302);
        assert_eq!(answer.header("location"), Some("https://example.com/landing"));
        assert_eq!(answer.header("clickledger-recorded"), None);
    }
    let forged = http::get(&client.url, &format!("/click?adId={ad}&imp=forged"), &[])?;
    assert_eq!(forged.status, 302);
    client.wait_for_clicks(&ad, 3)?;
    until("the forged click is counted", PATIENCE, || {
        Ok((client.totals(&ad)?["gross_clicks"] == 4).then_some(()))
    })?;

    let table = client.run(&["metrics", "ad", &ad, "--from", "-1h", "--tz", "Asia/Kolkata"])?;
    assert!(
        table.contains("invalid_bad_token") && table.contains("+05:30"),
        "{table}"
    );
    assert!(!table.contains("invalid_duplicate"), "{table}");
    assert!(
        table.contains("4 clicks: 3 valid, 1 invalid (25.00 %)"),
        "{table}"
    );
    let csv = client.run(&[
        "metrics",
        "advertiser",
        "9",
        "--from",
        "-1h",
        "--granularity",
        "hour",
        "--csv",
    ])?;
    let mut lines = csv.lines();
    assert!(
        lines.next().unwrap().starts_with("start,gross_clicks,clicks,"),
        "{csv}"
    );
    let gross: u64 = lines
        .map(|line| line.split(',').nth(1).unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(gross, 4);
    let json = client.json(&["metrics", "total", "--from", "-2h", "--group-by", "verdict"])?;
    assert_eq!(json["query"]["group_by"], serde_json::json!(["verdict"]));
    assert_eq!(json["totals"]["clicks"], 3);
    let placement = text(&client.json(&["placements", "get", "home-top"])?["placement_id"]);
    assert_eq!(
        client.json(&["metrics", "placement", &placement])?["totals"]["clicks"],
        3
    );
    assert_eq!(
        client.json(&["metrics", "campaign", "12"])?["totals"]["gross_clicks"],
        4
    );

    client.run(&["ads", "update", &ad, "--status", "paused", "--title", ""])?;
    let paused = client.json(&["ads", "get", &ad])?;
    assert_eq!(
        (&paused["status"], &paused["title"]),
        (&Value::from("paused"), &Value::Null)
    );
    assert!(
        client
            .run(&["ads", "list", "--advertiser", "9"])?
            .contains("paused")
    );
    assert!(client.run(&["placements", "list"])?.contains("home-top"));
    let stale = client.output(&["ads", "update", &ad, "--status", "active", "--if-version", "1"])?;
    assert_eq!(stale.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stale.stderr).contains("412"));
    Ok(())
}

#[test]
fn keys_open_what_their_scope_says_until_they_are_revoked() -> Result<()> {
    let server = Server::start()?;
    let admin = Client::of(&server)?;
    let ad = admin.ad("home-top")?;
    let made = admin.json(&["keys", "create", "advertiser", "--advertiser", "9", "--read-only"])?;
    let (id, key) = (text(&made["key_id"]), text(&made["key"]));
    let url = || server.url().to_owned();
    let reader = Client { url: url(), key };
    assert_eq!(reader.totals(&ad)?["clicks"], 0);
    let refused = reader.output(&["ads", "update", &ad, "--status", "paused"])?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("403"));

    let rotated = admin.json(&["keys", "rotate", &id])?;
    let rotated_reader = Client {
        url: url(),
        key: text(&rotated["key"]),
    };
    assert_eq!(reader.output(&["ads", "get", &ad])?.status.code(), Some(1));
    rotated_reader.run(&["ads", "get", &ad])?;
    admin.run(&["keys", "revoke", &text(&rotated["key_id"])])?;
    let revoked = rotated_reader.output(&["ads", "get", &ad])?;
    assert!(String::from_utf8_lossy(&revoked.stderr).contains("401"));

    let bearer = |key: &str| format!("Bearer {key}");
    let own = http::get(
        server.url(),
        "/metrics",
        &[("Authorization", &bearer(&admin.key))],
    )?;
    assert!(own.body.contains("pumped_records_total"), "{}", own.body);
    assert_eq!(http::get(server.url(), "/metrics", &[])?.status, 401);
    Ok(())
}

#[test]
fn errors_are_told_to_people_and_to_scripts() -> Result<()> {
    let server = Server::start()?;
    let client = Client::of(&server)?;
    let code = |output: &Output| output.status.code();
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();

    let missing = client.output(&["ads", "get", "77"])?;
    assert_eq!(code(&missing), Some(1));
    assert!(said(&missing).contains("404"), "{}", said(&missing));
    let bad = client.output(&[
        "ads",
        "create",
        "--advertiser",
        "9",
        "--campaign",
        "1",
        "--url",
        "ftp://a/",
    ])?;
    assert_eq!(code(&bad), Some(1));
    assert!(
        said(&bad).contains("redirect_url must be http or https"),
        "{}",
        said(&bad)
    );
    let usage = client.output(&["metrics", "ad", "1", "--from", "soon"])?;
    assert_eq!(code(&usage), Some(2));
    assert!(said(&usage).contains("-7d"), "{}", said(&usage));
    assert_eq!(code(&client.output(&["metrics", "ad"])?), Some(2));
    let stranger = Client {
        key: KEY.to_owned(),
        url: client.url.clone(),
    };
    assert!(said(&stranger.output(&["ads", "list"])?).contains("401"));
    let keyless = Client {
        key: String::new(),
        url: client.url.clone(),
    };
    assert!(said(&keyless.output(&["ads", "list"])?).contains("CLICKLEDGER_KEY"));
    let nobody = Client {
        url: "http://127.0.0.1:1".to_owned(),
        ..client
    };
    let output = nobody.output(&["ads", "list"])?;
    assert_eq!(code(&output), Some(1));
    assert!(said(&output).contains("clickledger serve"), "{}", said(&output));
    Ok(())
}

#[test]
fn a_reader_who_stops_early_is_no_failure() -> Result<()> {
    let server = Server::start()?;
    let client = Client::of(&server)?;
    let mut child = command()?
        .args(["metrics", "total", "--from", "-30d", "--csv"])
        .env("CLICKLEDGER_TARGET", &client.url)
        .env("CLICKLEDGER_KEY", &client.key)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut first = [0; 5];
    child.stdout.take().unwrap().read_exact(&mut first)?;
    let output = child.wait_with_output()?;
    assert_eq!(&first, b"start");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn when_the_disk_refuses_users_are_redirected_and_recording_returns_by_itself() -> Result<()> {
    let server = Server::start()?;
    let client = Client::of(&server)?;
    let ad = client.ad("home-top")?;
    assert_eq!(client.click("home-top")?.status, 302);
    client.wait_for_clicks(&ad, 1)?;
    let unrecorded = |answer: &Answer| answer.header("clickledger-recorded") == Some("false");

    server.limit_files(Some(0))?;
    for _ in 0..3 {
        let answer = client.click("home-top")?;
        assert_eq!(answer.status, 302);
        assert_eq!(answer.header("location"), Some("https://example.com/landing"));
        assert!(unrecorded(&answer), "{}", answer.head);
    }
    server.limit_files(None)?;
    let mut recorded = 1;
    until("clicks are recorded again", PATIENCE, || {
        let answer = client.click("home-top")?;
        recorded += u64::from(!unrecorded(&answer));
        Ok((recorded == 3).then_some(()))
    })?;
    client.wait_for_clicks(&ad, recorded)?;
    assert!(
        server
            .lines()
            .iter()
            .any(|line| line.contains("could not be recorded"))
    );
    Ok(())
}

#[test]
fn load_adds_up() -> Result<()> {
    let server = Server::start()?;
    let client = Client::of(&server)?;
    let report = client.json(&[
        "load",
        "--rate",
        "400",
        "--duration",
        "3s",
        "--repeats",
        "10",
        "--forged",
        "5%",
        "--ads",
        "120",
        "--zipf",
        "1.1",
    ])?;
    let count = |value: &Value| value.as_u64().unwrap();
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(count(&report["sent"]), 1200);
    assert_eq!(count(&report["acknowledged"]), 1200, "{report}");
    let counted = &report["counted"];
    let [valid, duplicate, bad_token] = ["valid", "duplicate", "bad_token"].map(|name| count(&counted[name]));
    assert_eq!(valid + duplicate + bad_token, 1200, "{report}");
    assert!(duplicate > 0 && bad_token > 0, "{report}");
    for (name, count) in [
        ("valid", valid),
        ("duplicate", duplicate),
        ("bad_token", bad_token),
    ] {
        let expected = &report["expected"][name];
        assert_eq!(
            (&expected["min"], &expected["max"]),
            (&count.into(), &count.into()),
            "{report}"
        );
    }
    let people = client.run(&["load", "--rate", "100", "--duration", "1s", "--ads", "1"])?;
    assert!(
        people.contains("counted twice") && people.contains("p999"),
        "{people}"
    );
    Ok(())
}

/// What a proxy does with a click.
#[derive(Clone, Copy)]
enum Lie {
    /// Answers it by itself, so that it never arrives.
    Drops,
    /// Sends it on twice.
    Doubles,
}

fn one_message(from: &mut BufReader<TcpStream>) -> Result<Option<Vec<u8>>> {
    let (mut message, mut length) = (Vec::new(), 0);
    loop {
        let start = message.len();
        if from.read_until(b'\n', &mut message)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&message[start..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let head = message.len();
    message.resize(head + length, 0);
    from.read_exact(&mut message[head..])?;
    Ok(Some(message))
}

fn lying_connection(client: TcpStream, server: &str, lie: Lie, clicks: &AtomicUsize) -> Result<()> {
    let mut to_server = TcpStream::connect(server)?;
    to_server.set_nodelay(true)?;
    let mut from_server = BufReader::new(to_server.try_clone()?);
    client.set_nodelay(true)?;
    let mut to_client = client.try_clone()?;
    let mut from_client = BufReader::new(client);
    while let Some(request) = one_message(&mut from_client)? {
        let lies = request.starts_with(b"GET /click") && clicks.fetch_add(1, Ordering::Relaxed) % 20 == 7;
        let times = match lie {
            _ if !lies => 1,
            Lie::Drops => 0,
            Lie::Doubles => 2,
        };
        let mut answer = b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n".to_vec();
        for _ in 0..times {
            to_server.write_all(&request)?;
            answer = one_message(&mut from_server)?.context("an answer")?;
        }
        to_client.write_all(&answer)?;
    }
    Ok(())
}

/// The URL of a proxy that does this with each connection, for as long as the test runs.
fn proxy(connection: impl Fn(TcpStream) -> Result<()> + Send + Sync + 'static) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let connection = Arc::new(connection);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let connection = Arc::clone(&connection);
            std::thread::spawn(move || connection(client));
        }
    });
    Ok(url)
}

/// A proxy that lies about every twentieth click.
fn lying_proxy(server: &str, lie: Lie) -> Result<String> {
    let server = server.trim_start_matches("http://").to_owned();
    let clicks = AtomicUsize::new(0);
    proxy(move |client| lying_connection(client, &server, lie, &clicks))
}

/// A proxy that knows the server under this path only, as an API gateway does, and whose answers lead nowhere else.
fn proxy_with_prefix(server: &str, prefix: &'static str) -> Result<String> {
    let server = server.trim_start_matches("http://").to_owned();
    let url = proxy(move |client| {
        let mut to_server = TcpStream::connect(&server)?;
        let mut from_server = BufReader::new(to_server.try_clone()?);
        let mut to_client = client.try_clone()?;
        let mut from_client = BufReader::new(client);
        while let Some(request) = one_message(&mut from_client)? {
            let space = request.iter().position(|byte| *byte == b' ').context("a path")? + 1;
            let (method, rest) = request.split_at(space);
            let answer = match rest.strip_prefix(prefix.as_bytes()) {
                Some(path) if path.starts_with(b"/") => {
                    to_server.write_all(&[method, path].concat())?;
                    one_message(&mut from_server)?.context("an answer")?
                }
                _ => b"HTTP/1.1 421 Misdirected Request\r\ncontent-length: 0\r\n\r\n".to_vec(),
            };
            to_client.write_all(&answer)?;
        }
        Ok(())
    })?;
    Ok(url + prefix)
}

#[test]
fn every_client_command_works_where_the_api_lives_under_a_path() -> Result<()> {
    let server = Server::start()?;
    let direct = Client::of(&server)?;
    for slash in ["", "/"] {
        // As an emulator has it.
        let url = proxy_with_prefix(server.url(), "/_aws/execute-api/a1b2c3/$default")?;
        let client = Client {
            url: url + slash,
            key: direct.key.clone(),
        };
        let ad = client.ad("home-top")?;
        assert_eq!(client.json(&["ads", "get", &ad])?["ad_id"], Value::from(&*ad));
        client.run(&["ads", "update", &ad, "--title", "Other"])?;
        assert!(client.run(&["ads", "list"])?.contains(&ad));
        assert!(client.run(&["placements", "list"])?.contains("home-top"));
        assert_eq!(
            client.json(&["placements", "get", "home-top"])?["slot"],
            "home-top"
        );
        let key = text(&client.json(&["keys", "create", "admin"])?["key_id"]);
        assert!(client.run(&["keys", "list"])?.contains(&key));
        client.run(&["keys", "revoke", &key])?;
        assert_eq!(client.totals(&ad)?["gross_clicks"], 0);
        let report = client.json(&["load", "--rate", "100", "--duration", "1s", "--ads", "3"])?;
        assert_eq!(
            (&report["ok"], &report["acknowledged"]),
            (&true.into(), &100.into()),
            "{report}"
        );
    }
    Ok(())
}

#[test]
fn commands_for_aws_say_what_they_miss() -> Result<()> {
    for name in ["doctor", "redrive"] {
        let output = command()?
            .args([name, "--stack", "s"])
            .env_remove("AWS_REGION")
            .env_remove("AWS_DEFAULT_REGION")
            .envs([
                ("AWS_EC2_METADATA_DISABLED", "true"),
                ("AWS_CONFIG_FILE", "/dev/null"),
            ])
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("AWS_REGION"), "{said}");
    }
    Ok(())
}

#[test]
fn load_finds_clicks_that_a_server_drops_or_counts_twice() -> Result<()> {
    let server = Server::start()?;
    let client = Client::of(&server)?;
    for (lie, found) in [(Lie::Drops, "lost"), (Lie::Doubles, "counted_twice")] {
        let lied_to = Client {
            url: lying_proxy(server.url(), lie)?,
            key: client.key.clone(),
        };
        let output = lied_to.output(&[
            "load",
            "--rate",
            "200",
            "--duration",
            "2s",
            "--ads",
            "10",
            "--connections",
            "8",
            "--patience",
            "3s",
            "--json",
        ])?;
        assert_eq!(
            output.status.code(),
            Some(1),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(report["acknowledged"], 400, "{report}");
        assert_eq!(report[found], 20, "{report}");
        assert_eq!(report["ok"], false);
    }
    Ok(())
}
