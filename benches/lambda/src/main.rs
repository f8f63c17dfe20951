//! What one invocation of `click` costs, beside an empty function and beside the same handler written plainly: each a process
//! of its own on a Lambda Runtime API, all in one run, in short rounds that take turns. `scripts/bench lambda` builds and runs it:
//!
//!     bench-lambda FUNCTIONS NODE_FOLDER [INVOCATIONS [ROUNDS [STARTS]]]
//!
//! Invariant: every invocation brings a token of its own; what every function has claimed and put is what it was given.

#![allow(clippy::print_stdout)] // a tool: its table is what it is for

mod services;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clickledger_aws::{SystemClock, SystemEntropy};
use clickledger_core::domain::ad::{Ad, AdStatus, RedirectUrl};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, ImpressionId, PlacementId};
use clickledger_core::domain::token::{Impression, TokenKey, TokenKeyRing};
use clickledger_core::ports::{Clock, Entropy};
use clickledger_tests::function::Function;
use clickledger_tests::runtime_api::Outcome;
use serde_json::{Value, json};

use crate::services::{Content, Services};

const AD: AdId = AdId(731);
const LOCATION: &str = "https://shop.example/shoes?utm_source=clickledger&utm_campaign=12";
const KEY: [u8; 32] = [7; 32];
const TIME: Duration = Duration::from_secs(30);
/// Node's compiler needs some thousands.
const WARMUP: usize = 3_000;

/// A function that is compared.
struct Candidate {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(&'static str, &'static str)>,
    /// Whether it claims and records.
    clicks: bool,
}

/// What was measured of it.
#[derive(Default)]
struct Measured {
    cpu_us: Vec<f64>,
    /// From exec to the first `next`, and to the first answer; processor time of both.
    starts_ms: Vec<[f64; 3]>,
    resident_mb: f64,
}

/// Makes events, each with a token of its own.
struct Events {
    template: String,
    ring: TokenKeyRing,
    clock: SystemClock,
}

impl Events {
    fn new() -> Result<Self> {
        let mut event: Value = serde_json::from_str(include_str!("../../../tests/fixtures/http_click.json"))?;
        event["rawQueryString"] = json!(format!("adId={AD}&imp=TOKEN"));
        event["queryStringParameters"] = json!({ "adId": AD.to_string(), "imp": "TOKEN" });
        Ok(Self {
            template: event.to_string(),
            ring: TokenKeyRing::new(TokenKey::new(1, &KEY), []),
            clock: SystemClock,
        })
    }

    fn next(&self) -> String {
        let shown_ms = self.clock.now_ms() - 900;
        let mut random = [0; 10];
        SystemEntropy.fill(&mut random);
        let token = self.ring.issue(&Impression {
            impression_id: ImpressionId::new(shown_ms, random),
            ad_id: AD,
            placement_id: PlacementId(500),
            issued_at_s: u32::try_from(shown_ms / 1_000).unwrap_or(u32::MAX),
        });
        self.template.replace("TOKEN", &token)
    }
}

fn content() -> Result<Content> {
    let ad = Ad {
        ad_id: AD,
        campaign_id: CampaignId(12),
        advertiser_id: AdvertiserId(9),
        redirect_url: RedirectUrl::parse(LOCATION)?,
        title: Some("Shoes".to_owned()),
        image_url: None,
        status: AdStatus::Active,
        fan_out: 4,
        version: 1,
        created_ms: 1_767_312_000_000,
    };
    // As many as make the snapshot's loading count.
    let ads = (0..1_000).map(|n| Ad {
        ad_id: AdId(AD.0 + n),
        ..ad.clone()
    });
    let key = STANDARD.encode(KEY);
    Ok(Content {
        secret: json!({ "signing": [{ "id": 1, "secret": key }], "hashing": key }).to_string(),
        ads: ads.collect(),
        clock: Arc::new(SystemClock),
    })
}

fn candidates(functions: &Path, node: &Path) -> Vec<Candidate> {
    let of = |name, program: &str, variables: &[(&'static str, &'static str)]| Candidate {
        name,
        program: functions.join(program),
        arguments: Vec::new(),
        variables: variables.to_vec(),
        clicks: program != "baseline-empty",
    };
    vec![
        of("empty, Rust", "baseline-empty", &[]),
        of("click", "click", &[]),
        of("plain, Rust + SDK", "baseline-plain", &[]),
        of(
            "the same on one thread",
            "baseline-plain",
            &[("BASELINE_THREADS", "1")],
        ),
        Candidate {
            name: "plain, Node + SDK v3",
            program: PathBuf::from("/usr/bin/env"),
            arguments: vec!["node".to_owned(), node.join("runtime.mjs").display().to_string()],
            variables: vec![("NODE_ENV", "production")],
            clicks: true,
        },
    ]
}

fn start(candidate: &Candidate, services: &Services) -> Result<Function> {
    // About as long as a role's.
    let token = "IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3QtMSJHMEUCIQ".repeat(18);
    let mut variables = vec![
        ("AWS_ENDPOINT_URL", services.url()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE"),
        (
            "AWS_SECRET_ACCESS_KEY",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ),
        ("AWS_SESSION_TOKEN", &token),
        ("CLICKLEDGER_ADS_TABLE", "clickledger-ads"),
        ("CLICKLEDGER_CLAIMS_TABLE", "clickledger-claims"),
        ("CLICKLEDGER_STREAM", "clickledger-clicks"),
        (
            "CLICKLEDGER_SPILL_QUEUE_URL",
            "https://sqs.us-east-1.amazonaws.com/123456789012/clickledger-spill",
        ),
        ("CLICKLEDGER_BUCKET", "clickledger-lake"),
        ("CLICKLEDGER_TOKEN_SECRET", "clickledger-keys"),
        ("BASELINE_LOCATION", LOCATION),
    ];
    variables.extend(&candidate.variables);
    let arguments: Vec<&str> = candidate.arguments.iter().map(String::as_str).collect();
    Function::start(&candidate.program, &arguments, &variables)
}

fn check(candidate: &Candidate, outcome: Outcome) -> Result<()> {
    let Outcome::Answered(answer) = outcome else {
        bail!("{}: {outcome:?}", candidate.name);
    };
    let answer: Value = serde_json::from_slice(&answer)?;
    let redirected = answer["statusCode"] == 302 && answer["headers"]["location"] == LOCATION;
    ensure!(redirected || !candidate.clicks, "{}: {answer}", candidate.name);
    Ok(())
}

/// Invokes it so often, one after another, and sees that it did what it should.
fn invoke(
    candidate: &Candidate,
    function: &Function,
    times: usize,
    events: &Events,
    services: &Services,
) -> Result<()> {
    let before = services.asked();
    for _ in 0..times {
        check(candidate, function.invoke(events.next(), TIME))?;
    }
    let after = services.asked();
    let wanted = if candidate.clicks { times } else { 0 };
    ensure!(
        after.claimed - before.claimed == wanted
            && after.records - before.records == wanted
            && after.refused == before.refused,
        "{}: {before:?} became {after:?} by {times} clicks",
        candidate.name
    );
    Ok(())
}

fn resident_mb(function: &Function) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", function.id()))?;
    let kb = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb: f64 = kb
        .and_then(|kb| kb.trim().trim_end_matches(" kB").parse().ok())
        .context("VmRSS")?;
    Ok(kb / 1_024.0)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn print(candidates: &[Candidate], measured: &[Measured]) {
    let cpu: Vec<f64> = measured.iter().map(|m| median(m.cpu_us.clone())).collect();
    // Of the two plain ones the cheaper is the measure.
    let plain = cpu[2].min(cpu[3]);
    println!(
        "{:24} {:>10} {:>15} {:>8} {:>12} {:>12} {:>12} {:>8}",
        "", "CPU µs", "of rounds", "× plain", "to `next`", "to answer", "CPU of both", "RSS MB"
    );
    for ((candidate, m), cpu) in candidates.iter().zip(measured).zip(cpu) {
        let low = m.cpu_us.iter().copied().fold(f64::INFINITY, f64::min);
        let high = m.cpu_us.iter().copied().fold(0.0, f64::max);
        let [to_next, to_answer, of_start] =
            [0, 1, 2].map(|which| median(m.starts_ms.iter().map(|start| start[which]).collect()));
        println!(
            "{:24} {cpu:10.1} {:>15} {:8.2} {to_next:9.1} ms {to_answer:9.1} ms {of_start:9.1} ms {:8.1}",
            candidate.name,
            format!("{low:.1}–{high:.1}"),
            cpu / plain,
            m.resident_mb
        );
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut folder = |what: &'static str| arguments.next().map(PathBuf::from).context(what);
    let candidates = candidates(
        &folder("folder of functions")?,
        &folder("folder of the Node handler")?,
    );
    let mut number = |otherwise: usize| arguments.next().map_or(Ok(otherwise), |number| number.parse());
    let (invocations, rounds, starts) = (number(400)?, number(25)?, number(20)?);

    let services = Services::start(content()?)?;
    let events = Events::new()?;
    let mut measured: Vec<Measured> = candidates.iter().map(|_| Measured::default()).collect();
    for _ in 0..starts {
        for (candidate, measured) in candidates.iter().zip(&mut measured) {
            let function = start(candidate, &services)?;
            check(candidate, function.begin(events.next(), TIME).wait())?;
            let start = function.ready()?;
            let answered = start.to_answer.context("it has answered")?;
            let used = function.processor_time()?;
            measured
                .starts_ms
                .push([start.to_next, answered, used].map(milliseconds));
        }
    }
    let functions: Vec<Function> = candidates
        .iter()
        .map(|candidate| start(candidate, &services))
        .collect::<Result<_>>()?;
    for (candidate, function) in candidates.iter().zip(&functions) {
        invoke(candidate, function, WARMUP, &events, &services)?;
    }
    for _ in 0..rounds {
        for ((candidate, function), measured) in candidates.iter().zip(&functions).zip(&mut measured) {
            let before = function.processor_time()?;
            invoke(candidate, function, invocations, &events, &services)?;
            let used = function.processor_time()? - before;
            measured
                .cpu_us
                .push(used.as_secs_f64() * 1_000_000.0 / invocations as f64);
        }
    }
    for (function, measured) in functions.iter().zip(&mut measured) {
        measured.resident_mb = resident_mb(function)?;
    }
    println!("{invocations} invocations a round, {rounds} rounds, {starts} starts; medians");
    print(&candidates, &measured);
    Ok(())
}
