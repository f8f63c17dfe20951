//! A server on loopback that answers as a script says, or passes requests on to the emulator and loses the answers.
//!
//! Invariant: it ends with the value that started it; what it was asked is kept, in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What becomes of one request.
pub use crate::fault_proxy::Fault as Reply;
use crate::fault_proxy::FaultProxy;

/// A running stub.
pub struct Stub {
    proxy: FaultProxy,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// Follows the script, one reply for each request, and then always does `then`. `upstream` is the emulator's URL.
    pub fn start(script: impl IntoIterator<Item = Reply>, then: Reply, upstream: Option<&str>) -> Self {
        let script: Mutex<VecDeque<Reply>> = Mutex::new(script.into_iter().collect());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let proxy = FaultProxy::start(upstream, move |asked| {
            kept.lock()
                .unwrap()
                .push(String::from_utf8_lossy(asked.body).into_owned());
            let next = script.lock().unwrap().pop_front();
            next.unwrap_or_else(|| then.clone())
        });
        Self {
            proxy: proxy.unwrap(),
            asked,
        }
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        self.proxy.url()
    }

    /// The bodies of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}
