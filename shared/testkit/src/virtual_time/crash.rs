//! Crashes: a future that may be dropped wherever it waits.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The process crashed at this await.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crashed;

impl fmt::Display for Crashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("crashed")
    }
}

impl std::error::Error for Crashed {}

/// Asked at every await: does the process crash here?
pub type CrashChance = Arc<dyn Fn() -> bool + Send + Sync>;

/// Runs the future, but whenever it waits asks `chance`: if that is so, drops the future right there.
pub fn crashing<F: Future>(future: F, chance: CrashChance) -> Crashing<F> {
    Crashing {
        future: Some(Box::pin(future)),
        chance,
    }
}

/// See [`crashing`].
pub struct Crashing<F> {
    future: Option<Pin<Box<F>>>,
    chance: CrashChance,
}

impl<F> fmt::Debug for Crashing<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crashing(alive: {})", self.future.is_some())
    }
}

impl<F: Future> Future for Crashing<F> {
    type Output = Result<F::Output, Crashed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else {
            return Poll::Ready(Err(Crashed));
        };
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            self.future = None;
            return Poll::Ready(Ok(output));
        }
        if (self.chance)() {
            self.future = None;
            return Poll::Ready(Err(Crashed));
        }
        Poll::Pending
    }
}
