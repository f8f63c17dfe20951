//! A really listening server against garbage: it goes on serving.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::world::World;

struct Listening {
    address: SocketAddr,
    serving: JoinHandle<()>,
    world: World,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn listen() -> Listening {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = world
        .router
        .clone()
        .into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    Listening {
        address,
        serving,
        world,
    }
}

impl Listening {
    /// Sends these bytes, ends its side, and reads what comes until the other side ends.
    async fn send(&self, bytes: &[u8]) -> String {
        self.exchange(bytes, true).await
    }

    async fn exchange(&self, bytes: &[u8], end: bool) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let mut answer = Vec::new();
        let exchange = async {
            // The server may hang up in the middle: that is an answer too.
            let _ = socket.write_all(bytes).await;
            if end {
                let _ = socket.shutdown().await;
            }
            let _ = socket.read_to_end(&mut answer).await;
        };
        tokio::time::timeout(Duration::from_secs(20), exchange)
            .await
            .expect("the server neither answered nor hung up");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn lives(&self) {
        let answer = self
            .send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(!self.serving.is_finished());
    }
}

#[tokio::test]
async fn garbage_on_the_wire_leaves_the_server_serving() {
    let server = listen().await;
    let large = |size: usize| vec![b'x'; size];
    let header = [
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ".to_vec(),
        large(1 << 20),
        b"\r\n\r\n".to_vec(),
    ]
    .concat();
    let line = [
        b"GET /click?adId=".to_vec(),
        large(1 << 20),
        b" HTTP/1.1\r\n\r\n".to_vec(),
    ]
    .concat();
    let many = [
        b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec(),
        b"X-A: y\r\n".repeat(20_000),
        b"\r\n".to_vec(),
    ]
    .concat();
    let noise: Vec<u8> = (0..100_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let garbage: Vec<Vec<u8>> = vec![
        vec![],
        b"\0".to_vec(),
        b"\r\n\r\n\r\n".to_vec(),
        b"GET".to_vec(),
        b"GET / HTTP/1.1\r\nHost".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET  /  HTTP/1.1\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"POST /click HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nContent-Type: text/plain\r\n\r\nadId="
            .to_vec(),
        b"POST /click HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"POST /click HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        b"POST /click HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_vec(),
        b"POST /click HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"POST /click HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n"
            .to_vec(),
        b"GET /click?adId=1\x00 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\rb\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n X-A: folded\r\n\r\n".to_vec(),
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_vec(),
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        header,
        line,
        many,
        noise,
        large(1 << 20),
    ];
    for bytes in &garbage {
        let answer = server.send(bytes).await;
        let about = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        // This server is axum's: where another crate of the same build asks for it, it speaks HTTP/2 too.
        let other_protocol = bytes.starts_with(b"PRI * HTTP/2.0");
        assert!(
            other_protocol || answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{about:?}: {}",
            &answer[..answer.len().min(200)]
        );
        server.lives().await;
    }
    // All at once, and connections that never say a word beside them.
    let silent: Vec<TcpStream> =
        futures_util::future::join_all((0..50).map(|_| TcpStream::connect(server.address)))
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
    futures_util::future::join_all(garbage.iter().map(|bytes| server.send(bytes))).await;
    server.lives().await;
    drop(silent);
    assert_eq!(server.world.verdicts().await, Vec::<&str>::new());
}

#[tokio::test]
async fn over_a_real_connection_the_peers_own_address_is_recorded_and_requests_follow_each_other() {
    let server = listen().await;
    let ad = server.world.ad(9).await;
    let click = format!(
        "GET /click?adId={ad} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\nUser-Agent: Mozilla/5.0 (X11)\r\n\r\n"
    );
    let wrong = "POST /click HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nxyz";
    let last = "HEAD /click HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = server
        .exchange(format!("{click}{wrong}{click}{last}").as_bytes(), false)
        .await;
    let statuses: Vec<&str> = answer
        .lines()
        .filter_map(|line| line.split("HTTP/1.1 ").nth(1))
        .map(|status| &status[..3])
        .collect();
    assert_eq!(statuses, ["302", "400", "302", "400"], "{answer}");
    let records = server.world.recorded().await;
    assert_eq!(records.len(), 2);
    for record in records {
        assert_eq!(record.network.as_deref(), Some("127.0.0.0/24"));
    }
}
