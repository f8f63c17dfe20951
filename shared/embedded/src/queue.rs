//! The queue before the writer thread: what every write of the store passes through.
//!
//! Invariant: a job that was taken in is settled exactly once, after its group's commit or rollback; a job that finds no
//! room is refused at once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clickledger_core::ports::{PortError, PortResult};
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::group::Group;

/// One write, waiting for its turn.
pub(crate) trait Job: Send {
    /// Does the work in the group's transaction. An error rolls the whole group back.
    fn run(&mut self, group: &mut Group<'_>) -> Result<(), rusqlite::Error>;
    /// Answers whoever waits: with what `run` found, or with the group's failure.
    fn settle(self: Box<Self>, outcome: Result<(), &PortError>);
}

struct Pending<T, F> {
    work: Option<F>,
    found: Option<PortResult<T>>,
    answer: oneshot::Sender<PortResult<T>>,
}

impl<T, F> Job for Pending<T, F>
where
    T: Send,
    F: FnOnce(&mut Group<'_>) -> Result<T, Failure> + Send,
{
    fn run(&mut self, group: &mut Group<'_>) -> Result<(), rusqlite::Error> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        self.found = Some(match work(group) {
            Ok(value) => Ok(value),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Broken(error)) => return Err(error),
        });
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: Result<(), &PortError>) {
        let answer = match (outcome, self.found) {
            (Ok(()), Some(found)) => found,
            (Err(error), _) => Err(error.clone()),
            (Ok(()), None) => Err(closed()),
        };
        // Whoever asked may have stopped waiting.
        let _ = self.answer.send(answer);
    }
}

fn closed() -> PortError {
    PortError::unavailable("the data folder is closed")
}

struct State {
    jobs: Vec<Box<dyn Job>>,
    closed: bool,
}

pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    limit: usize,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Self {
        let state = State {
            jobs: Vec::new(),
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
            limit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a write to the writer thread, now (not when the future is first polled), so that the order of calls is the
    /// order of writes. The future resolves after the commit; dropping it leaves the write as it is.
    pub(crate) fn submit<T, F>(&self, work: F) -> impl Future<Output = PortResult<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&mut Group<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (answer, asked) = oneshot::channel();
        let refused = self
            .push(Box::new(Pending {
                work: Some(work),
                found: None,
                answer,
            }))
            .err();
        async move {
            match refused {
                Some(error) => Err(error),
                // A job that is dropped unsettled was never committed: the writer settles every one that it ran.
                None => asked.await.unwrap_or_else(|_| Err(closed())),
            }
        }
    }

    fn push(&self, job: Box<dyn Job>) -> PortResult<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(closed());
        }
        if state.jobs.len() >= self.limit {
            return Err(PortError::unavailable("too many writes are waiting for the disk"));
        }
        state.jobs.push(job);
        let first = state.jobs.len() == 1;
        drop(state);
        if first {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Waits for jobs, no longer than `at_most`, and takes all of them into `into`, which is empty; `false` when the queue
    /// is closed and drained.
    pub(crate) fn take(&self, into: &mut Vec<Box<dyn Job>>, at_most: Option<Duration>) -> bool {
        let mut state = self.lock();
        let idle = |state: &mut State| state.jobs.is_empty() && !state.closed;
        state = match at_most {
            Some(time) => {
                let waited = self.filled.wait_timeout_while(state, time, idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.filled.wait_while(state, idle);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        if state.jobs.is_empty() && state.closed {
            return false;
        }
        std::mem::swap(&mut state.jobs, into);
        true
    }

    /// Takes no more jobs; those inside are still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// Takes no more jobs, and drops those inside: the writer is gone.
    pub(crate) fn abandon(&self) {
        let dropped = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.jobs)
        };
        drop(dropped);
    }
}
