//! A reverse proxy on 127.0.0.1 in front of the AWS emulator, which makes the faults that the emulator never makes: refusals,
//! silence, answers that are lost, writes that land late, services that cannot be reached.
//!
//! Invariant: it ends with the value that started it; what it was told to apply is applied once, and [`FaultProxy::quiet`]
//! returns when nothing is under way any more. This file needs nothing of its crate: `shared/aws/tests` includes it as it is.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What becomes of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// None: the emulator's answer, as it comes.
    Pass,
    /// The emulator gets this body instead, and its answer is passed on: a rule broken on purpose.
    Rewrite(Vec<u8>),
    /// This status and body; the emulator never hears of it.
    Answer(u16, String),
    /// The connection is closed; the emulator never hears of it.
    Close,
    /// Nothing comes, the connection stays open, and the emulator never hears of it.
    Silence,
    /// The emulator does it; its answer is lost with the connection.
    Lose,
    /// The emulator does it; this status and body are answered.
    DoneBut(u16, String),
    /// The emulator does it; nothing comes, and the connection stays open.
    DoneInSilence,
    /// The connection is closed; the emulator does it so much later.
    Later(Duration),
    /// The emulator's answer, so much later.
    Slowly(Duration),
}

/// Which service a request is for, as far as a fault is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// DynamoDB.
    DynamoDb,
    /// Kinesis.
    Kinesis,
    /// SQS.
    Sqs,
    /// Secrets Manager.
    Secrets,
    /// S3.
    S3,
    /// Any other, and requests that name none (a connection that is opened ahead).
    Other,
}

impl Service {
    /// How this service says that it has too much to do: status and body.
    pub fn throttled(self) -> (u16, String) {
        match self {
            Service::DynamoDb | Service::Kinesis => {
                (400, error("ProvisionedThroughputExceededException"))
            }
            Service::S3 => (
                503,
                "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>said the proxy</Message></Error>".to_owned(),
            ),
            _ => (400, error("ThrottlingException")),
        }
    }
}

/// The body of an AWS error of the JSON protocols.
pub fn error(code: &str) -> String {
    format!(r#"{{"__type":"com.amazonaws#{code}","message":"said the proxy"}}"#)
}

/// Why a service is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Its connections are closed as soon as they ask for something.
    Closes,
    /// It takes requests and never answers.
    BlackHole,
}

/// A request, as a fault is chosen for it.
#[derive(Debug)]
pub struct Asked<'a> {
    /// For whom.
    pub service: Service,
    /// The operation (`UpdateItem`); for S3 the method.
    pub operation: &'a str,
    /// The path.
    pub path: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// How many requests for this operation of this service came before.
    pub number: u64,
}

type Decide = dyn Fn(&Asked<'_>) -> Fault + Send + Sync;

#[derive(Default)]
struct Inner {
    outages: HashMap<Service, Outage>,
    counts: HashMap<(Service, String), u64>,
    connections: HashMap<u64, TcpStream>,
    opened: u64,
    /// Requests that the emulator has or will have.
    under_way: usize,
    ended: bool,
}

struct Shared {
    upstream: Option<SocketAddr>,
    decide: Box<Decide>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl FaultProxy {
    /// Stands in front of `upstream`, which is `http://<address>:<port>`; without one, nothing can be passed on.
    ///
    /// # Errors
    /// There is no port, or `upstream` is no such URL.
    pub fn start(
        upstream: Option<&str>,
        decide: impl Fn(&Asked<'_>) -> Fault + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let address = |url: &str| {
            url.trim_start_matches("http://")
                .parse()
                .map_err(io::Error::other)
        };
        let shared = Arc::new(Shared {
            upstream: upstream.map(address).transpose()?,
            decide: Box::new(decide),
            inner: Mutex::default(),
            changed: Condvar::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Self {
            address: listener.local_addr()?,
            shared,
            accepting: Mutex::default(),
        };
        proxy.accept(listener);
        Ok(proxy)
    }

    /// `http://127.0.0.1:<port>`, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a service unreachable, or reachable again. Requests that came before are not touched.
    pub fn set_outage(&self, service: Service, outage: Option<Outage>) {
        let mut inner = self.shared.lock();
        match outage {
            Some(outage) => inner.outages.insert(service, outage),
            None => inner.outages.remove(&service),
        };
    }

    /// Refuses connections from now on, and closes those that are open.
    pub fn close(&self) {
        let connections = {
            let mut inner = self.shared.lock();
            inner.ended = true;
            std::mem::take(&mut inner.connections)
        };
        for connection in connections.values() {
            // The other side may have closed it.
            let _ = connection.shutdown(Shutdown::Both);
        }
        let accepting = self
            .accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(accepting) = accepting {
            // Wakes the thread that accepts.
            drop(TcpStream::connect(self.address));
            let _ = accepting.join();
        }
    }

    /// Takes connections again, at the same address.
    ///
    /// # Errors
    /// The port was taken by somebody else.
    pub fn reopen(&self) -> io::Result<()> {
        self.close();
        let listener = TcpListener::bind(self.address)?;
        self.shared.lock().ended = false;
        self.accept(listener);
        Ok(())
    }

    /// Waits until nothing is under way to the emulator, also none that is to be applied later; says whether it came to that.
    pub fn quiet(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut inner = self.shared.lock();
        while inner.under_way > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            inner = self
                .shared
                .changed
                .wait_timeout(inner, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// How many requests came for this operation.
    pub fn count(&self, service: Service, operation: &str) -> u64 {
        let key = (service, operation.to_owned());
        self.shared.lock().counts.get(&key).copied().unwrap_or_default()
    }

    fn accept(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut inner = shared.lock();
                if inner.ended {
                    return;
                }
                inner.opened += 1;
                let number = inner.opened;
                if let Ok(kept) = stream.try_clone() {
                    inner.connections.insert(number, kept);
                }
                drop(inner);
                let shared = Arc::clone(&shared);
                // Ends when either side closes the connection.
                std::thread::spawn(move || {
                    let _ = serve(&shared, &stream);
                    let _ = stream.shutdown(Shutdown::Both);
                    shared.lock().connections.remove(&number);
                });
            }
        });
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepting);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.close();
    }
}

/// A request or an answer.
struct Message {
    /// Its first line and headers, without the empty line.
    head: String,
    body: Vec<u8>,
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The next of a connection; `None` at its end. `bodiless`: an answer that has none whatever its headers say.
    fn read(reader: &mut impl BufRead, bodiless: bool) -> io::Result<Option<Self>> {
        let mut message = Self {
            head: String::new(),
            body: Vec::new(),
        };
        loop {
            let start = message.head.len();
            if reader.read_line(&mut message.head)? == 0 {
                return Ok(None);
            }
            if message.head[start..].trim_end().is_empty() {
                message.head.truncate(start);
                break;
            }
        }
        if bodiless
            || [" 204 ", " 304 "]
                .iter()
                .any(|status| message.head.get(8..13) == Some(status))
        {
            return Ok(Some(message));
        }
        let chunked = message
            .header("transfer-encoding")
            .is_some_and(|how| how.eq_ignore_ascii_case("chunked"));
        if chunked {
            message.read_chunks(reader)?;
        } else if let Some(length) = message.header("content-length") {
            message.body = vec![0; length.parse().map_err(io::Error::other)?];
            reader.read_exact(&mut message.body)?;
        } else if message.head.starts_with("HTTP/") {
            reader.read_to_end(&mut message.body)?;
        }
        Ok(Some(message))
    }

    fn read_chunks(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = line.trim_end().split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            let start = self.body.len();
            // The chunk and the line's end behind it.
            self.body.resize(start + size + 2, 0);
            reader.read_exact(&mut self.body[start..])?;
            self.body.truncate(start + size);
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// As it is sent on: with the length of the body that it has now.
    fn bytes(&self) -> Vec<u8> {
        let framing = ["content-length:", "transfer-encoding:", "connection:"];
        let kept = self.head.lines().filter(|line| {
            let line = line.to_ascii_lowercase();
            !framing.iter().any(|name| line.starts_with(name))
        });
        let mut head: String = kept.flat_map(|line| [line, "\r\n"]).collect();
        head.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        let mut whole = head.into_bytes();
        whole.extend_from_slice(&self.body);
        whole
    }

    /// Service and operation.
    fn operation(&self) -> (Service, &str) {
        let Some((service, operation)) = self
            .header("x-amz-target")
            .and_then(|target| target.split_once('.'))
        else {
            let method = self.head.split(' ').next().unwrap_or_default();
            let s3 = self.header("x-amz-content-sha256").is_some();
            return (if s3 { Service::S3 } else { Service::Other }, method);
        };
        let service = match service {
            "DynamoDB_20120810" => Service::DynamoDb,
            "Kinesis_20131202" => Service::Kinesis,
            "AmazonSQS" => Service::Sqs,
            "secretsmanager" => Service::Secrets,
            _ => Service::Other,
        };
        (service, operation)
    }
}

/// The connection to the emulator that belongs to one of the proxy's own.
#[derive(Default)]
struct Upstream(Option<BufReader<TcpStream>>);

impl Upstream {
    fn ask(&mut self, shared: &Shared, request: &Message) -> io::Result<Message> {
        let asked = self.ask_once(shared, request);
        // What was read is at its end, or broken: the next request has a connection of its own.
        if asked
            .as_ref()
            .map_or(true, |answer| answer.header("connection") == Some("close"))
        {
            self.0 = None;
        }
        asked
    }

    fn ask_once(&mut self, shared: &Shared, request: &Message) -> io::Result<Message> {
        let reader = match &mut self.0 {
            Some(open) => open,
            none => {
                let address = shared
                    .upstream
                    .ok_or_else(|| io::Error::other("nothing behind the proxy"))?;
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                none.insert(BufReader::new(stream))
            }
        };
        reader.get_mut().write_all(&request.bytes())?;
        let bodiless = request.head.starts_with("HEAD ");
        Message::read(reader, bodiless)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Counts a request as under way as long as it lives.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.lock().under_way += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
        self.0.changed.notify_all();
    }
}

fn serve(shared: &Arc<Shared>, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    let mut upstream = Upstream::default();
    while let Some(mut request) = Message::read(&mut reader, false)? {
        let under_way = UnderWay::new(shared);
        let answer = match fault(shared, &request) {
            Fault::Pass => upstream.ask(shared, &request)?.bytes(),
            Fault::Rewrite(body) => {
                request.body = body;
                upstream.ask(shared, &request)?.bytes()
            }
            Fault::Answer(status, body) => made_up(status, &body),
            Fault::Close => return Ok(()),
            Fault::Silence => continue,
            Fault::Lose => return upstream.ask(shared, &request).map(drop),
            Fault::DoneBut(status, body) => {
                upstream.ask(shared, &request)?;
                made_up(status, &body)
            }
            Fault::DoneInSilence => {
                upstream.ask(shared, &request)?;
                continue;
            }
            Fault::Later(delay) => {
                let shared = Arc::clone(shared);
                std::thread::spawn(move || {
                    std::thread::sleep(delay);
                    let _ = Upstream::default().ask(&shared, &request);
                    drop(under_way);
                });
                return Ok(());
            }
            Fault::Slowly(delay) => {
                std::thread::sleep(delay);
                upstream.ask(shared, &request)?.bytes()
            }
        };
        drop(under_way);
        writer.write_all(&answer)?;
    }
    Ok(())
}

fn made_up(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn fault(shared: &Shared, request: &Message) -> Fault {
    let (service, operation) = request.operation();
    let number = {
        let mut inner = shared.lock();
        let count = inner.counts.entry((service, operation.to_owned())).or_default();
        *count += 1;
        let number = *count - 1;
        match inner.outages.get(&service) {
            Some(Outage::Closes) => return Fault::Close,
            Some(Outage::BlackHole) => return Fault::Silence,
            None => number,
        }
    };
    (shared.decide)(&Asked {
        service,
        operation,
        path: request.head.split(' ').nth(1).unwrap_or_default(),
        body: &request.body,
        number,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Something to stand in front of: answers each request with its body and how many came; says how many came.
    fn upstream() -> (FaultProxy, Arc<AtomicU64>) {
        let came = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&came);
        let proxy = FaultProxy::start(None, move |asked| {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            Fault::Answer(200, format!("{} {number}", String::from_utf8_lossy(asked.body)))
        });
        (proxy.unwrap(), came)
    }

    /// A proxy whose requests say what becomes of them.
    fn proxy(of: &FaultProxy) -> FaultProxy {
        FaultProxy::start(Some(&of.url()), |asked| match asked.body {
            b"answer" => Fault::Answer(400, error("ThrottlingException")),
            b"close" => Fault::Close,
            b"silence" => Fault::Silence,
            b"lose" => Fault::Lose,
            b"done but" => Fault::DoneBut(500, "?".to_owned()),
            b"done in silence" => Fault::DoneInSilence,
            b"later" => Fault::Later(Duration::from_millis(150)),
            b"slowly" => Fault::Slowly(Duration::from_millis(50)),
            b"rewrite" => Fault::Rewrite(b"something longer".to_vec()),
            _ => Fault::Pass,
        })
        .unwrap()
    }

    /// Status and body; `None` where the connection was closed, an error where nothing came.
    fn ask(proxy: &FaultProxy, target: &str, body: &str) -> io::Result<Option<(u16, String)>> {
        let mut stream = TcpStream::connect(proxy.address)?;
        stream.set_read_timeout(Some(Duration::from_millis(300)))?;
        let length = body.len();
        write!(
            stream,
            "POST / HTTP/1.1\r\nX-Amz-Target: {target}\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let answer = Message::read(&mut BufReader::new(stream), false)?;
        Ok(answer.map(|answer| {
            let status = answer.head[9..12].parse().unwrap();
            (status, String::from_utf8(answer.body).unwrap())
        }))
    }

    #[test]
    fn each_fault_answers_and_applies_as_it_says() {
        let (behind, came) = upstream();
        let proxy = proxy(&behind);
        let put = "DynamoDB_20120810.PutItem";
        for (what, answered, applied) in [
            ("pass", Some((200, "pass 0".to_owned())), 1),
            ("answer", Some((400, error("ThrottlingException"))), 0),
            ("close", None, 0),
            ("lose", None, 1),
            ("done but", Some((500, "?".to_owned())), 1),
            ("slowly", Some((200, "slowly 3".to_owned())), 1),
            ("rewrite", Some((200, "something longer 4".to_owned())), 1),
        ] {
            let before = came.load(Ordering::SeqCst);
            assert_eq!(ask(&proxy, put, what).unwrap(), answered, "{what}");
            assert!(proxy.quiet(Duration::from_secs(10)));
            assert_eq!(came.load(Ordering::SeqCst) - before, applied, "{what}");
        }
        for (what, applied) in [("silence", 0), ("done in silence", 1)] {
            let before = came.load(Ordering::SeqCst);
            assert!(ask(&proxy, put, what).is_err(), "{what}");
            assert_eq!(came.load(Ordering::SeqCst) - before, applied, "{what}");
        }
        let before = came.load(Ordering::SeqCst);
        assert_eq!(ask(&proxy, put, "later").unwrap(), None);
        assert!(!proxy.quiet(Duration::ZERO));
        assert!(proxy.quiet(Duration::from_secs(10)));
        assert_eq!(came.load(Ordering::SeqCst) - before, 1);
        assert_eq!(proxy.count(Service::DynamoDb, "PutItem"), 10);
    }

    #[test]
    fn a_service_is_unreachable_while_the_others_are_not() {
        let (behind, _) = upstream();
        let proxy = proxy(&behind);
        let (put, get) = ("Kinesis_20131202.PutRecords", "DynamoDB_20120810.GetItem");
        proxy.set_outage(Service::Kinesis, Some(Outage::Closes));
        assert_eq!(ask(&proxy, put, "x").unwrap(), None);
        assert!(ask(&proxy, get, "x").unwrap().is_some());
        proxy.set_outage(Service::Kinesis, Some(Outage::BlackHole));
        assert!(ask(&proxy, put, "x").is_err());
        proxy.set_outage(Service::Kinesis, None);
        assert!(ask(&proxy, put, "x").unwrap().is_some());
    }

    #[test]
    fn connections_are_refused_and_taken_again_at_the_same_address() {
        let (behind, _) = upstream();
        let proxy = proxy(&behind);
        proxy.close();
        assert!(TcpStream::connect(proxy.address).is_err());
        proxy.reopen().unwrap();
        assert!(ask(&proxy, "AmazonSQS.SendMessage", "x").unwrap().is_some());
    }
}
