//! Credentials that a function has to fetch, as where its process outlives those that it was started with.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::spawn;

use serde_json::json;

use crate::world::World;

const TOKEN: &str = "a token of this process";

/// Gives these credentials to whoever shows the token, and counts how often.
fn endpoint(access_key_id: String, secret_access_key: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, given) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&given);
    // It ends with the test's process.
    spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if connection.read_exact(&mut byte).is_err() {
                    break;
                }
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let (status, body) = if head.contains(&format!("authorization: {TOKEN}")) {
                count.fetch_add(1, Ordering::Relaxed);
                let body = json!({ "AccessKeyId": access_key_id, "SecretAccessKey": secret_access_key, "Token": "session",
                    "Expiration": "2099-01-01T00:00:00Z" });
                ("200 OK", body.to_string())
            } else {
                ("401 Unauthorized", String::new())
            };
            let length = body.len();
            let _ = write!(
                connection,
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    (address, given)
}

#[test]
fn a_function_without_credentials_of_its_own_asks_its_endpoint_for_them() {
    let world = World::new();
    let ad = world.create_ad();
    world.write_snapshot();
    let (address, given) = endpoint(
        world.variable("AWS_ACCESS_KEY_ID"),
        world.variable("AWS_SECRET_ACCESS_KEY"),
    );
    let url = format!("http://{address}/credentials");
    let of_endpoint = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN),
    ];
    let click = world.spawn_with("click", &of_endpoint);
    click.ready().unwrap();
    world.click(&click, ad, &world.token(ad)).redirected();
    assert!(given.load(Ordering::Relaxed) > 0);
    world.assert_counted();
}
