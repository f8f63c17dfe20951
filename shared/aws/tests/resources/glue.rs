//! The lake's table, made as infra/lake.yaml makes it.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

/// A call of the emulator's Glue, in this account.
fn call(endpoint: &str, account: &str, operation: &str, body: &Value) {
    let host = endpoint.trim_start_matches("http://");
    let body = body.to_string();
    let mut socket = TcpStream::connect(host).unwrap();
    write!(
        socket,
        "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: AWSGlue.{operation}\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={account}/20260101/us-east-1/glue/aws4_request, \
         SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{operation}: {answer}");
}

/// Database and tables; these lie under `lake/` and `history/` of the bucket.
pub fn make_lake(endpoint: &str, account: &str, database: &str, bucket: &str) {
    let input = json!({"Name": database});
    call(
        endpoint,
        account,
        "CreateDatabase",
        &json!({"DatabaseInput": input}),
    );
    let columns: Vec<Value> = [
        ("v", "int"),
        ("click_id", "string"),
        ("impression_id", "string"),
        ("ad_id", "string"),
        ("campaign_id", "string"),
        ("advertiser_id", "string"),
        ("placement_id", "string"),
        ("clicked_at_ms", "bigint"),
        ("verdict", "string"),
        ("duplicate_of", "string"),
        ("claimed", "boolean"),
        ("device", "string"),
        ("country", "string"),
        ("heartbeat", "string"),
    ]
    .map(|(name, kind)| json!({"Name": name, "Type": kind}))
    .to_vec();
    let table = json!({
        "Name": "clicks",
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"classification": "json"},
        "PartitionKeys": [{"Name": "dt", "Type": "string"}, {"Name": "hr", "Type": "string"}],
        "StorageDescriptor": {
            "Location": format!("s3://{bucket}/lake/"),
            "Columns": columns,
            "SerdeInfo": {"SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe"},
        },
    });
    let of_history = [columns, vec![json!({"Name": "hr", "Type": "string"})]].concat();
    let history = json!({
        "Name": "clicks_history",
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"classification": "parquet"},
        "PartitionKeys": [{"Name": "dt", "Type": "string"}],
        "StorageDescriptor": {
            "Location": format!("s3://{bucket}/history/"),
            "Columns": of_history,
            "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
        },
    });
    for table in [table, history] {
        call(
            endpoint,
            account,
            "CreateTable",
            &json!({"DatabaseName": database, "TableInput": table}),
        );
    }
}
