//! The click handler as one writes it with `lambda_http` and the AWS SDK for Rust, both as they come: what ours is compared
//! with.
//!
//! Invariant: it makes the same calls as `click` for a valid click (claim, record, redirect) and leaves out what `click`
//! does besides: robots, prefetches, hashes of client data, limits, metrics, spill, refreshing keys and ads. So where it is
//! unfair, it is so in its own favour.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use lambda_http::{Body, Error, Request, RequestExt, Response, run, service_fn};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What the function works on.
struct Setup {
    dynamodb: aws_sdk_dynamodb::Client,
    kinesis: aws_sdk_kinesis::Client,
    claims: String,
    stream: String,
    key: [u8; 32],
    location: String,
}

#[derive(Deserialize)]
struct Secret {
    signing: Vec<SigningKey>,
}

#[derive(Deserialize)]
struct SigningKey {
    secret: String,
}

/// The record, with the fields of ours.
#[derive(Serialize)]
struct Record<'a> {
    v: u8,
    click_id: &'a str,
    impression_id: &'a str,
    ad_id: &'a str,
    campaign_id: &'a str,
    advertiser_id: &'a str,
    placement_id: String,
    clicked_at_ms: u64,
    verdict: &'a str,
    duplicate_of: Option<String>,
    claimed: bool,
    partition_key: &'a str,
    device: &'a str,
    country: &'a str,
    dwell_ms: u64,
}

#[allow(clippy::disallowed_methods)] // a program of its own, which has its settings from here
fn variable(name: &str) -> Result<String, Error> {
    std::env::var(name).map_err(|error| format!("{name}: {error}").into())
}

#[allow(clippy::disallowed_methods)] // the same for the time
fn now() -> Result<Duration, Error> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

async fn setup() -> Result<Setup, Error> {
    use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
    // The SDK's own client. It comes with aws-lc for TLS, which needs a C compiler; nothing here is encrypted.
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let defaults = aws_config::defaults(aws_config::BehaviorVersion::latest());
    let config = defaults.http_client(http).load().await;
    let secret = aws_sdk_secretsmanager::Client::new(&config)
        .get_secret_value()
        .secret_id(variable("CLICKLEDGER_TOKEN_SECRET")?)
        .send()
        .await?;
    let secret: Secret = serde_json::from_str(secret.secret_string().unwrap_or_default())?;
    let key = secret.signing.last().ok_or("no signing key")?;
    Ok(Setup {
        dynamodb: aws_sdk_dynamodb::Client::new(&config),
        kinesis: aws_sdk_kinesis::Client::new(&config),
        claims: variable("CLICKLEDGER_CLAIMS_TABLE")?,
        stream: variable("CLICKLEDGER_STREAM")?,
        key: STANDARD
            .decode(&key.secret)?
            .try_into()
            .map_err(|_| "not 32 bytes")?,
        location: variable("BASELINE_LOCATION")?,
    })
}

/// The 54 bytes of a token that we have signed (docs/DATA_MODEL.md).
fn verified(key: &[u8; 32], token: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    if bytes.len() != 54 || bytes[0] != 1 {
        return None;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(&bytes[..38]);
    mac.verify_truncated_left(&bytes[38..]).ok()?;
    Some(bytes)
}

fn status(code: u16) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(code).body(Body::Empty)?)
}

async fn click(setup: &Setup, request: Request) -> Result<Response<Body>, Error> {
    let query = request.query_string_parameters();
    let (Some(ad_id), Some(token)) = (query.first("adId"), query.first("imp")) else {
        return status(400);
    };
    let Some(token) = verified(&setup.key, token) else {
        return status(403);
    };
    let now_ms = u64::try_from(now()?.as_millis())?;
    let issued_at_s = u32::from_be_bytes([token[2], token[3], token[4], token[5]]);
    let impression_id = &token[6..22];
    if now_ms > (u64::from(issued_at_s) + 86_400) * 1_000
        || token[22..30] != ad_id.parse::<u64>()?.to_be_bytes()
    {
        return status(403);
    }

    let mut click_id = [0; 16];
    getrandom::fill(&mut click_id)?;
    click_id[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    let expires_ms = now_ms + 15 * 86_400_000;
    let claim = setup
        .dynamodb
        .put_item()
        .table_name(&setup.claims)
        .item("impression_id", AttributeValue::B(Blob::new(impression_id)))
        .item("click_id", AttributeValue::B(Blob::new(click_id)))
        .item("expires_ms", AttributeValue::N(expires_ms.to_string()))
        .item("expires", AttributeValue::N((expires_ms / 1_000).to_string()))
        .condition_expression("attribute_not_exists(impression_id) OR expires_ms < :now")
        .expression_attribute_values(":now", AttributeValue::N(now_ms.to_string()))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await;
    let duplicate_of = match claim {
        Ok(_) => None,
        Err(error) => match error.into_service_error() {
            aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(refused) => {
                let owner = refused.item().and_then(|item| item.get("click_id"));
                let owner = owner.and_then(|owner| owner.as_b().ok());
                owner.map(|owner| URL_SAFE_NO_PAD.encode(owner))
            }
            error => return Err(error.into()),
        },
    };

    let placement: [u8; 8] = token[30..38].try_into()?;
    let shown: [u8; 8] = [0, 0, token[6], token[7], token[8], token[9], token[10], token[11]];
    let partition_key = format!("{ad_id}#{}", impression_id[15] & 1);
    let record = Record {
        v: 1,
        click_id: &URL_SAFE_NO_PAD.encode(click_id),
        impression_id: &URL_SAFE_NO_PAD.encode(impression_id),
        ad_id,
        campaign_id: "12",
        advertiser_id: "9",
        placement_id: u64::from_be_bytes(placement).to_string(),
        clicked_at_ms: now_ms,
        verdict: if duplicate_of.is_some() {
            "duplicate"
        } else {
            "valid"
        },
        duplicate_of,
        claimed: true,
        partition_key: &partition_key,
        device: "desktop",
        country: "ZZ",
        dwell_ms: now_ms.saturating_sub(u64::from_be_bytes(shown)),
    };
    let mut line = serde_json::to_vec(&record)?;
    line.push(b'\n');
    setup
        .kinesis
        .put_record()
        .stream_name(&setup.stream)
        .partition_key(partition_key.as_str())
        .data(aws_sdk_kinesis::primitives::Blob::new(line))
        .send()
        .await?;
    let redirect = Response::builder()
        .status(302)
        .header("location", &setup.location)
        .header("cache-control", "no-store");
    Ok(redirect.body(Body::Empty)?)
}

async fn serve() -> Result<(), Error> {
    let setup = &setup().await?;
    run(service_fn(move |request: Request| click(setup, request))).await
}

/// `#[tokio::main]`, or with `BASELINE_THREADS=1` a runtime of one thread.
fn main() -> Result<(), Error> {
    let mut runtime = match variable("BASELINE_THREADS").as_deref() {
        Ok("1") => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(serve())
}
