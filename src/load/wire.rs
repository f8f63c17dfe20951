//! HTTP/1.1 as cheap as it goes: prepared request bytes out, a head and a body of known length in.
//!
//! The generator shares a machine with what it measures, so this is not a general client: no redirects, no chunked bodies,
//! no TLS. Invariant: after an `Ok` the connection is at the beginning of the next answer; after an error it is dropped.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::Url;

/// How long an answer may take; then the connection is dropped.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Where to send everything.
#[derive(Debug, Clone)]
pub(super) struct Site {
    address: SocketAddr,
    /// The `Host` header.
    host: String,
    /// Path prefix, without a slash at its end.
    prefix: String,
    base: Url,
}

impl Site {
    /// Resolves the target once.
    pub(super) async fn resolve(target: &Url) -> anyhow::Result<Self> {
        anyhow::ensure!(
            target.scheme() == "http",
            "load speaks plain HTTP: the target must begin with http://"
        );
        let name = target
            .host_str()
            .ok_or_else(|| anyhow::anyhow!("the target has no host"))?;
        let port = target.port_or_known_default().unwrap_or(80);
        let address = lookup_host((name.trim_matches(['[', ']']), port))
            .await?
            .next()
            .ok_or_else(|| anyhow::anyhow!("{name} has no address"))?;
        Ok(Self {
            address,
            host: format!("{name}:{port}"),
            prefix: target.path().trim_end_matches('/').to_owned(),
            base: target.clone(),
        })
    }

    /// The path of an API's URL.
    pub(super) fn path(&self, of: &str) -> String {
        format!("{}{of}", self.prefix)
    }

    /// Path and query of a URL that was found at `path`.
    pub(super) fn resolve_from(&self, path: &str, url: &str) -> Option<String> {
        let found = self.base.join(path).ok()?.join(url).ok()?;
        let mut text = found.path().to_owned();
        if let Some(query) = found.query() {
            text.push('?');
            text.push_str(query);
        }
        Some(text)
    }

    /// Writes a request's head (and body, if there is one) into `into`.
    pub(super) fn request(&self, into: &mut Vec<u8>, method: &str, path: &[u8], headers: &str, body: &str) {
        into.clear();
        for part in [
            method.as_bytes(),
            b" ",
            path,
            b" HTTP/1.1\r\nHost: ",
            self.host.as_bytes(),
            b"\r\n",
            headers.as_bytes(),
        ] {
            into.extend_from_slice(part);
        }
        if !body.is_empty() {
            into.extend_from_slice(
                format!(
                    "Content-Type: application/json\r\nContent-Length: {}\r\n",
                    body.len()
                )
                .as_bytes(),
            );
        }
        into.extend_from_slice(b"\r\n");
        into.extend_from_slice(body.as_bytes());
    }
}

/// What an answer says.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    /// `false` where the server says that it could not record the click.
    pub(super) recorded: bool,
    pub(super) body: &'a [u8],
}

struct Head {
    status: u16,
    recorded: bool,
    close: bool,
    body: Range<usize>,
}

/// A connection that opens itself, and stays open as long as both sides want.
#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) fn to(site: &Site) -> Self {
        Self {
            address: site.address,
            stream: None,
            buffer: Vec::with_capacity(1024),
        }
    }

    /// Makes sure that there is a connection; nothing is sent.
    pub(super) async fn open(&mut self) -> io::Result<()> {
        if self.stream.is_none() {
            let stream = timeout(ANSWER_LIMIT, TcpStream::connect(self.address))
                .await
                .map_err(|_| io::ErrorKind::TimedOut)??;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Sends a request and waits for its answer. After an error nobody knows whether the request took effect.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.open().await?;
        let Some(mut stream) = self.stream.take() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let exchanged = timeout(ANSWER_LIMIT, async {
            stream.write_all(request).await?;
            self.read(&mut stream).await
        });
        let head = exchanged.await.map_err(|_| io::ErrorKind::TimedOut)??;
        if !head.close {
            self.stream = Some(stream);
        }
        Ok(Answer {
            status: head.status,
            recorded: head.recorded,
            body: &self.buffer[head.body],
        })
    }

    async fn read(&mut self, stream: &mut TcpStream) -> io::Result<Head> {
        self.buffer.clear();
        let head = loop {
            self.more(stream).await?;
            if let Some(head) = head(&self.buffer)? {
                break head;
            }
        };
        while self.buffer.len() < head.body.end {
            self.more(stream).await?;
        }
        Ok(head)
    }

    async fn more(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if self.buffer.len() > MAX_ANSWER_BYTES {
            return Err(io::Error::other("the answer is too long"));
        }
        match stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The head, once it is complete.
fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 40];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = parsed.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let status = parsed.code.unwrap_or_default();
    let (mut recorded, mut close, mut length) = (true, false, None);
    for header in parsed.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        } else if header.name.eq_ignore_ascii_case("clickledger-recorded") {
            recorded = !value.eq_ignore_ascii_case(b"false");
        } else if header.name.eq_ignore_ascii_case("connection") {
            close = value.eq_ignore_ascii_case(b"close");
        }
    }
    let length: usize = match (status, length) {
        (204 | 304, _) => 0,
        (_, Some(length)) => length,
        (_, None) => return Err(io::Error::other("an answer without Content-Length")),
    };
    Ok(Some(Head {
        status,
        recorded,
        close,
        body: end..end.saturating_add(length).min(MAX_ANSWER_BYTES),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = b"HTTP/1.1 302 Found\r\nLocation: https://a/\r\nClickledger-Recorded: false\r\ncontent-length: 3\r\n\r\nabc";
        for cut in 0..text.len() - 3 {
            assert!(head(&text[..cut]).unwrap().is_none(), "{cut}");
        }
        let head = head(text).unwrap().unwrap();
        assert_eq!((head.status, head.recorded, head.close), (302, false, false));
        assert_eq!(&text[head.body], b"abc");
    }

    #[test]
    fn what_has_no_length_is_refused() {
        assert!(head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n").is_err());
        assert_eq!(
            head(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
                .unwrap()
                .map(|h| (h.close, h.body.len())),
            Some((true, 0))
        );
    }
}
