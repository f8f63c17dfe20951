//! The Lambda Runtime API on a port of 127.0.0.1: what a function's process asks for events and gives its answers to.
//!
//! Invariant: an event is handed out once, to one of the `next` that wait; each connection has a thread of its own and an
//! answer is one write, so that what is measured of a function is the function's. It ends with the value that started it.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

const PREFIX: &str = "/2018-06-01/runtime/";
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:";

/// What a function gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its response.
    Answered(Vec<u8>),
    /// Its error, as it reported it.
    Failed(Vec<u8>),
    /// Its process ended, or was killed, before it had answered.
    Ended,
    /// It had not answered when its time was up, and was killed as Lambda does.
    TimedOut,
}

/// One event on its way into a function.
pub(crate) struct Event {
    pub(crate) json: Vec<u8>,
    /// Unix milliseconds.
    pub(crate) deadline_ms: i64,
    pub(crate) trace_id: String,
    pub(crate) answer: Sender<Outcome>,
}

/// What the API has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// When `next` was asked first.
    pub(crate) first_next: Option<Instant>,
    /// When the first answer, response or error, had come whole.
    pub(crate) first_answer: Option<Instant>,
    /// What was reported as having gone wrong before the first `next`.
    pub(crate) init_error: Option<String>,
    /// How many `next` are waiting.
    pub(crate) waiting: usize,
    /// How many events are being worked.
    pub(crate) working: usize,
}

#[derive(Default)]
struct Inner {
    seen: Seen,
    number: u64,
    queue: VecDeque<Event>,
    working: HashMap<String, Sender<Outcome>>,
    connections: Vec<TcpStream>,
    ended: bool,
}

struct Shared {
    function: String,
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running API, for one process.
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl RuntimeApi {
    /// Listens for the process of this function.
    pub(crate) fn start(function: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            function: function.to_owned(),
            inner: Mutex::default(),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut inner = of_thread.lock();
                if inner.ended {
                    return;
                }
                if let Ok(kept) = stream.try_clone() {
                    inner.connections.push(kept);
                }
                let shared = Arc::clone(&of_thread);
                // Ends with its connection, which is closed when the API ends.
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        Ok(Self {
            address,
            shared,
            accepting: Some(accepting),
        })
    }

    /// `127.0.0.1:<port>`, as `AWS_LAMBDA_RUNTIME_API` says it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// For the next `next`.
    pub(crate) fn push(&self, event: Event) {
        self.shared.lock().queue.push_back(event);
        self.shared.changed.notify_one();
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> Seen {
        let inner = self.shared.lock();
        Seen {
            working: inner.working.len() + inner.queue.len(),
            ..inner.seen.clone()
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        let connections = {
            let mut inner = self.shared.lock();
            inner.ended = true;
            std::mem::take(&mut inner.connections)
        };
        self.shared.changed.notify_all();
        for connection in connections {
            // It may have been closed by the other side.
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    while let Some((path, body)) = request(&mut reader)? {
        match path.strip_prefix(PREFIX) {
            Some("invocation/next") => match next(shared) {
                Some((id, event)) => give(shared, &mut writer, &id, event)?,
                None => return Ok(()),
            },
            Some("init/error") => {
                shared.lock().seen.init_error = Some(String::from_utf8_lossy(&body).into_owned());
                answer(&mut writer, "202 Accepted", r#"{"status":"OK"}"#)?;
            }
            Some(other) => match finish(shared, other, body) {
                true => answer(&mut writer, "202 Accepted", r#"{"status":"OK"}"#)?,
                false => answer(
                    &mut writer,
                    "400 Bad Request",
                    r#"{"errorType":"InvalidRequestID"}"#,
                )?,
            },
            None => answer(&mut writer, "404 Not Found", "{}")?,
        }
    }
    Ok(())
}

/// Waits for an event.
fn next(shared: &Shared) -> Option<(String, Event)> {
    let mut inner = shared.lock();
    inner.seen.first_next.get_or_insert_with(Instant::now);
    inner.seen.waiting += 1;
    let event = loop {
        if inner.ended {
            break None;
        }
        if let Some(event) = inner.queue.pop_front() {
            break Some(event);
        }
        inner = shared.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
    };
    inner.seen.waiting -= 1;
    let event = event?;
    inner.number += 1;
    let id = format!("00000000-0000-4000-8000-{:012}", inner.number);
    inner.working.insert(id.clone(), event.answer.clone());
    Some((id, event))
}

fn give(shared: &Shared, writer: &mut TcpStream, id: &str, event: Event) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nLambda-Runtime-Aws-Request-Id: {id}\r\n\
         Lambda-Runtime-Deadline-Ms: {}\r\nLambda-Runtime-Invoked-Function-Arn: {ARN}{}\r\nLambda-Runtime-Trace-Id: {}\r\n\r\n",
        event.json.len(),
        event.deadline_ms,
        shared.function,
        event.trace_id,
    );
    let mut whole = head.into_bytes();
    whole.extend(event.json);
    writer.write_all(&whole)
}

/// `invocation/<id>/response` or `…/error`.
fn finish(shared: &Shared, path: &str, body: Vec<u8>) -> bool {
    let Some((id, what)) = path
        .strip_prefix("invocation/")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let outcome = match what {
        "response" => Outcome::Answered(body),
        "error" => Outcome::Failed(body),
        _ => return false,
    };
    let mut inner = shared.lock();
    inner.seen.first_answer.get_or_insert_with(Instant::now);
    match inner.working.remove(id) {
        // Whoever asked may have given up.
        Some(answer) => drop(answer.send(outcome)),
        None => return false,
    }
    true
}

fn answer(writer: &mut TcpStream, status: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let whole = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    writer.write_all(whole.as_bytes())
}

/// A request's path and body; `None` at the connection's end.
fn request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut length, mut chunked) = (0, false);
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim_end().is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    while chunked {
        line.clear();
        reader.read_line(&mut line)?;
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        let start = body.len();
        // The chunk and the line's end behind it.
        body.resize(start + size + 2, 0);
        reader.read_exact(&mut body[start..])?;
        body.truncate(start + size);
        chunked = size != 0;
    }
    Ok(Some((path, body)))
}
