//! What a click's two calls cost in processor time, by the lean client and by the SDK, against a stub on loopback:
//!
//!     cargo bench -p clickledger-aws --bench calls
//!
//! The client has one thread of its own, whose time on the processor the kernel counts; the stub's threads are not in it.
//! Both clients use the same connections, credentials and limits.

// A tool, run by hand: a panic is its way to say no.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use clickledger_aws::{Aws, Names, Patience, Resource, SystemClock, Target};
use clickledger_core::domain::ids::{ClickId, ImpressionId};
use clickledger_core::ports::{Claim, ClaimStore, Claimed, ClickStream, Outgoing};

const CALLS: u32 = 20_000;
const WARMUP: u32 = 2_000;

/// Answers every request of a connection as the service would.
fn serve(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    let mut body = Vec::new();
    loop {
        let (mut length, mut kinesis, mut batch) = (0, false, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            kinesis |= line.starts_with("x-amz-target: kinesis");
            batch |= line.ends_with("putrecords");
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        let record = r#"{"SequenceNumber":"49590338271490256608559692538361571095921575989136588898","ShardId":"shardId-000000000000"}"#;
        let answer = match (kinesis, batch) {
            (true, true) => format!(r#"{{"FailedRecordCount":0,"Records":[{record}]}}"#),
            (true, false) => record.to_owned(),
            (false, _) => "{}".to_owned(),
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Fri, 02 Jan 2026 00:00:00 GMT\r\nContent-Type: application/x-amz-json-1.0\r\n\
             Content-Length: {}\r\nConnection: keep-alive\r\nx-amzn-RequestId: 7G2KHV9QEJ2S0M4QZQ5B3M8J7RVV4KQNSO5AEMVJF66Q9ASUAAJG\r\n\r\n{answer}",
            answer.len()
        );
        writer.write_all(answer.as_bytes())?;
    }
}

fn stub() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    format!("http://{address}")
}

/// This thread's time on the processor so far, nanoseconds.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

async fn measure<F: Future<Output = ()>>(what: &str, mut call: impl FnMut(u32) -> F) {
    for n in 0..WARMUP {
        call(n).await;
    }
    let before = cpu_ns();
    for n in 0..CALLS {
        call(n).await;
    }
    let each = (cpu_ns() - before) / u64::from(CALLS);
    println!("{what:40} {:7.1} µs", each as f64 / 1_000.0);
}

fn claim(n: u32) -> Claim {
    Claim {
        impression_id: ImpressionId(u128::from(n) << 64 | 7),
        click_id: ClickId(u128::from(n) << 64 | 9),
        expires_ms: 1_767_312_000_000,
    }
}

async fn run() {
    let target = Target {
        endpoint: stub(),
        region: "us-east-1".to_owned(),
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
    };
    let names = Names::default()
        .with(Resource::Claims, "clickledger-claims")
        .with(Resource::Stream, "clickledger-clicks");
    let aws = Aws::at(target, names, Arc::new(SystemClock)).unwrap();
    let line = vec![b'x'; 350];

    let claims = aws.claims(Patience::CLAIM).await.unwrap();
    let claims = &claims;
    measure("claim, lean", |n| async move {
        assert_eq!(
            claims.claim(claim(n), 1_767_312_000_000).await.unwrap(),
            Claimed::First
        );
    })
    .await;
    let stream = aws.stream(Patience::PUBLISH).await.unwrap();
    let (stream, line) = (&stream, &line);
    measure("publish, lean", |n| async move {
        let record = Outgoing {
            partition_key: format!("{n}#0"),
            data: line.clone(),
        };
        assert!(stream.publish(vec![record]).await[0].is_ok());
    })
    .await;

    let (dynamodb, kinesis) = (&aws.dynamodb(), &aws.kinesis());
    measure("claim, SDK", |n| async move {
        let claim = claim(n);
        let put = dynamodb
            .put_item()
            .table_name("clickledger-claims")
            .item(
                "impression_id",
                AttributeValue::B(Blob::new(claim.impression_id.to_bytes())),
            )
            .item(
                "click_id",
                AttributeValue::B(Blob::new(claim.click_id.to_bytes())),
            )
            .item("expires_ms", AttributeValue::N(claim.expires_ms.to_string()))
            .item(
                "expires",
                AttributeValue::N((claim.expires_ms / 1_000).to_string()),
            )
            .condition_expression("attribute_not_exists(impression_id) OR expires_ms < :now")
            .expression_attribute_values(":now", AttributeValue::N("1767312000000".to_owned()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        put.send().await.unwrap();
    })
    .await;
    measure("publish, SDK", |n| async move {
        let put = kinesis
            .put_record()
            .stream_name("clickledger-clicks")
            .partition_key(format!("{n}#0"))
            .data(aws_sdk_kinesis::primitives::Blob::new(line.clone()));
        put.send().await.unwrap();
    })
    .await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run());
}
