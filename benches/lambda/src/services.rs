//! DynamoDB, Kinesis, Secrets Manager and S3 as far as a click needs them, on a port of 127.0.0.1: quick, and in this
//! process, so that they are not in what is measured.
//!
//! Invariant: an impression is claimed once, whoever asks how often; every record that was put is counted.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use clickledger_core::domain::ad::Ad;
use clickledger_core::ports::Clock;
use serde_json::{Value, json};

/// What was asked for so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Impressions that were claimed.
    pub(crate) claimed: usize,
    /// Claims that were refused.
    pub(crate) refused: usize,
    /// Records that were put.
    pub(crate) records: usize,
}

#[derive(Default)]
struct State {
    asked: Asked,
    /// Who has which impression, in base64.
    owners: HashMap<String, String>,
}

/// What the services hold.
pub(crate) struct Content {
    /// The secret's text.
    pub(crate) secret: String,
    /// The catalogue.
    pub(crate) ads: Vec<Ad>,
    /// Says when the catalogue's snapshot was written: just now.
    pub(crate) clock: Arc<dyn Clock>,
}

/// The services. They end with the process.
pub(crate) struct Services {
    url: String,
    state: Arc<Mutex<State>>,
}

impl Services {
    /// Starts them.
    pub(crate) fn start(content: Content) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::<Mutex<State>>::default();
        let (of_thread, content) = (Arc::clone(&state), Arc::new(content));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, content) = (Arc::clone(&of_thread), Arc::clone(&content));
                std::thread::spawn(move || serve(stream, &state, &content));
            }
        });
        Ok(Self { url, state })
    }

    /// Where all of them are.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What was asked for so far.
    pub(crate) fn asked(&self) -> Asked {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).asked
    }
}

/// Answers every request of a connection.
fn serve(stream: TcpStream, state: &Mutex<State>, content: &Content) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let snapshot = line.starts_with("GET ") && line.contains("/ads.ndjson");
        let (mut length, mut target) = (0, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("x-amz-target") {
                target = value.trim().to_owned();
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        let (status, answer) = match &*target {
            "" if snapshot => ("200 OK", catalogue(content)?),
            // A connection that is opened ahead.
            "" => ("200 OK", String::new()),
            "secretsmanager.GetSecretValue" => {
                let secret = json!({ "Name": "keys", "SecretString": content.secret, "VersionId": "1" });
                ("200 OK", secret.to_string())
            }
            _ => call(&target, &body, state),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nServer: Server\r\nDate: Fri, 02 Jan 2026 00:00:00 GMT\r\nContent-Type: application/x-amz-json-1.0\r\n\
             Content-Length: {}\r\nConnection: keep-alive\r\nx-amzn-RequestId: 7G2KHV9QEJ2S0M4QZQ5B3M8J7RVV4KQNSO5AEMVJF66Q9ASUAAJG\r\n\
             \r\n{answer}",
            answer.len()
        );
        writer.write_all(answer.as_bytes())?;
    }
}

/// The snapshot as `maintain` writes it.
fn catalogue(content: &Content) -> io::Result<String> {
    let head = json!({ "v": 1, "written_ms": content.clock.now_ms(), "ads": content.ads.len() });
    let mut lines = format!("{head}\n");
    for ad in &content.ads {
        lines.push_str(&serde_json::to_string(ad)?);
        lines.push('\n');
    }
    Ok(lines)
}

/// The calls of a click.
fn call(target: &str, body: &[u8], state: &Mutex<State>) -> (&'static str, String) {
    const RECORD: &str = r#""SequenceNumber":"49590338271490256608559692538361571095921575989136588898","ShardId":"shardId-000000000000""#;
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return (
            "400 Bad Request",
            r#"{"__type":"SerializationException"}"#.to_owned(),
        );
    };
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    match target {
        "DynamoDB_20120810.PutItem" => {
            let id = |name: &str| body["Item"][name]["B"].as_str().map(str::to_owned);
            let (Some(impression), Some(click)) = (id("impression_id"), id("click_id")) else {
                return (
                    "400 Bad Request",
                    r#"{"__type":"ValidationException"}"#.to_owned(),
                );
            };
            let conditional = body["ConditionExpression"]
                .as_str()
                .is_some_and(|condition| condition.contains("attribute_not_exists(impression_id)"));
            match state.owners.get(&impression) {
                Some(owner) if conditional => {
                    let refused = json!({
                        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
                        "Message": "The conditional request failed",
                        "Item": { "impression_id": { "B": impression }, "click_id": { "B": owner } },
                    });
                    state.asked.refused += 1;
                    ("400 Bad Request", refused.to_string())
                }
                _ => {
                    state.owners.insert(impression, click);
                    state.asked.claimed += 1;
                    ("200 OK", "{}".to_owned())
                }
            }
        }
        "Kinesis_20131202.PutRecord" => {
            state.asked.records += 1;
            ("200 OK", format!("{{{RECORD}}}"))
        }
        "Kinesis_20131202.PutRecords" => {
            let records = body["Records"].as_array().map_or(0, Vec::len);
            state.asked.records += records;
            let answers = vec![format!("{{{RECORD}}}"); records].join(",");
            (
                "200 OK",
                format!(r#"{{"FailedRecordCount":0,"Records":[{answers}]}}"#),
            )
        }
        _ => (
            "400 Bad Request",
            r#"{"__type":"UnknownOperationException"}"#.to_owned(),
        ),
    }
}
