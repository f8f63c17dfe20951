//! What ends the process: SIGINT and SIGTERM.
//!
//! Invariant: the first one is announced, so that the end can be orderly; the second one ends the process at once.

use anyhow::Result;
use tokio::sync::watch;

/// Listens for them.
pub(super) struct Signals {
    heard: watch::Receiver<bool>,
}

impl Signals {
    /// From here on nothing else happens at a signal.
    pub(super) fn new() -> Result<Self> {
        let mut source = Source::new()?;
        let (announce, heard) = watch::channel(false);
        tokio::spawn(async move {
            source.next().await;
            announce.send_replace(true);
            source.next().await;
            tracing::warn!("ended by a second signal");
            std::process::exit(130);
        });
        Ok(Self { heard })
    }

    /// Waits for the first.
    pub(super) async fn first(mut self) {
        // The sender lives as long as the process.
        let _ = self.heard.wait_for(|heard| *heard).await;
    }
}

#[cfg(unix)]
struct Source {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Source {
    fn new() -> Result<Self> {
        use rustix::process::Signal;
        use tokio::signal::unix::{SignalKind, signal};
        // A limit on the size of files is a disk that refuses: users are still redirected. Unheard, it would end the
        // process.
        drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Source;

#[cfg(not(unix))]
impl Source {
    fn new() -> Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
