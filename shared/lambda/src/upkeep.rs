//! Work that must be done every few minutes in a process that is frozen between invocations: keys and ads loaded again.
//!
//! Invariant: an invocation waits for it only where the work is overdue, beside its own work and never longer than the limit.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use futures_util::future::{BoxFuture, join};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// When upkeep is due.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// It is begun by the first invocation this long after it was last done; nobody waits for it.
    pub every: Duration,
    /// From then on invocations wait for it.
    pub overdue: Duration,
    /// How long an invocation waits at most.
    pub limit: Duration,
    /// How long after it was begun it is begun again, if it was not done.
    pub again: Duration,
}

/// The work, and when it was done last.
pub struct Upkeep {
    times: Times,
    work: Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    done: Arc<Mutex<Instant>>,
    begun: Option<Instant>,
    running: Option<JoinHandle<()>>,
}

impl Upkeep {
    /// Work that was done just now, at the start. It answers whether it is done.
    pub fn new<F>(times: Times, work: impl Fn() -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Arc::new(Self {
            times,
            work: Box::new(move || Box::pin(work())),
            state: Mutex::new(State {
                done: Arc::new(Mutex::new(Instant::now())),
                begun: None,
                running: None,
            }),
        })
    }

    /// The router, with this work beside its requests. Call it within a runtime.
    pub fn beside(self: Arc<Self>, router: Router) -> Router {
        router.layer(from_fn(move |request: Request, next: Next| {
            let upkeep = Arc::clone(&self);
            async move { upkeep.with(next.run(request)).await }
        }))
    }

    /// The invocation's own work, with the upkeep beside it where it is due.
    async fn with<T>(&self, own: impl Future<Output = T>) -> T {
        match self.begin() {
            None => own.await,
            Some(overdue) => join(own, timeout(self.times.limit, overdue)).await.0,
        }
    }

    /// Begins it where it is due; answers the work where it is overdue.
    fn begin(&self) -> Option<JoinHandle<()>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let age = state
            .done
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed();
        if age < self.times.every {
            return None;
        }
        if state
            .begun
            .is_none_or(|begun| begun.elapsed() >= self.times.again)
        {
            state.begun = Some(Instant::now());
            let (work, done) = ((self.work)(), Arc::clone(&state.done));
            state.running = Some(tokio::spawn(async move {
                if work.await {
                    *done.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                }
            }));
        }
        state.running.take_if(|_| age >= self.times.overdue)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::{advance, sleep};

    use super::*;

    const TIMES: Times = Times {
        every: Duration::from_secs(300),
        overdue: Duration::from_secs(480),
        limit: Duration::from_millis(250),
        again: Duration::from_secs(15),
    };

    fn counting(takes: Duration) -> (Arc<Upkeep>, Arc<AtomicU32>) {
        let begun = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&begun);
        let upkeep = Upkeep::new(TIMES, move || {
            counter.fetch_add(1, Ordering::Relaxed);
            async move {
                sleep(takes).await;
                true
            }
        });
        (upkeep, begun)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_begun_when_due_and_nobody_waits() {
        let (upkeep, begun) = counting(Duration::from_millis(40));
        upkeep.with(async {}).await;
        assert_eq!(begun.load(Ordering::Relaxed), 0);
        advance(TIMES.every).await;
        let before = Instant::now();
        upkeep.with(async {}).await;
        upkeep.with(async {}).await;
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        assert_eq!(before.elapsed(), Duration::ZERO);
        sleep(Duration::from_secs(20)).await;
        upkeep.with(async {}).await;
        assert_eq!(begun.load(Ordering::Relaxed), 1, "it was done");
    }

    #[tokio::test(start_paused = true)]
    async fn overdue_it_is_waited_for_within_the_limit() {
        for (takes, waits) in [(40, 40), (10_000, 250)] {
            let (upkeep, _) = counting(Duration::from_millis(takes));
            advance(TIMES.overdue).await;
            let before = Instant::now();
            upkeep.with(async {}).await;
            let waited = before.elapsed().as_millis();
            assert!(waited >= waits && waited <= waits + 2, "{waited} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_tried_again_but_not_at_once() {
        let begun = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&begun);
        let upkeep = Upkeep::new(TIMES, move || {
            counter.fetch_add(1, Ordering::Relaxed);
            async { false }
        });
        advance(TIMES.every).await;
        for (seconds, wanted) in [(0, 1), (5, 1), (10, 2)] {
            advance(Duration::from_secs(seconds)).await;
            upkeep.with(async {}).await;
            assert_eq!(begun.load(Ordering::Relaxed), wanted);
        }
    }
}
