//! A server on loopback that answers as a script says, or passes requests on to the emulator and loses the answers.
//!
//! Invariant: it ends with the value that started it; what it was asked is kept, in order.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What becomes of one request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// This status and body.
    Answer(u16, String),
    /// The connection is closed.
    Close,
    /// Nothing comes, and the connection stays open.
    Silence,
    /// The emulator's answer.
    Pass,
    /// The emulator does it; its answer is lost.
    Lose,
}

struct State {
    script: Mutex<VecDeque<Reply>>,
    then: Reply,
    upstream: Option<SocketAddr>,
    asked: Mutex<Vec<String>>,
    ended: AtomicBool,
}

/// A running stub.
pub struct Stub {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

impl Stub {
    /// Follows the script, one reply for each request, and then always does `then`. `upstream` is the emulator's URL.
    pub fn start(script: impl IntoIterator<Item = Reply>, then: Reply, upstream: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Mutex::new(script.into_iter().collect()),
            then,
            upstream: upstream.map(|url| url.trim_start_matches("http://").parse().unwrap()),
            asked: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&state);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if of_thread.ended.load(Ordering::Acquire) {
                    return;
                }
                let state = Arc::clone(&of_thread);
                // Ends when its client closes the connection.
                std::thread::spawn(move || serve(&state, stream));
            }
        });
        Self {
            address,
            state,
            accepting: Some(accepting),
        }
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bodies of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(state: &State, stream: TcpStream) -> std::io::Result<()> {
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let asked = String::from_utf8_lossy(&body).into_owned();
        state.asked.lock().unwrap().push(asked);
        let next = state.script.lock().unwrap().pop_front();
        match next.unwrap_or_else(|| state.then.clone()) {
            Reply::Answer(status, body) => {
                let length = body.len();
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
                writer.write_all(answer.as_bytes())?;
            }
            Reply::Close => return Ok(()),
            Reply::Silence => {}
            reply @ (Reply::Pass | Reply::Lose) => {
                let mut upstream = TcpStream::connect(state.upstream.unwrap())?;
                upstream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
                upstream.write_all(&body)?;
                let mut answer = Vec::new();
                upstream.read_to_end(&mut answer)?;
                if matches!(reply, Reply::Pass) {
                    writer.write_all(&answer)?;
                }
                return Ok(());
            }
        }
    }
}
