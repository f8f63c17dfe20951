//! The gate before every group commit: open, unless a test closes it to see what waits for the disk.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use clickledger_core::ports::PortError;

/// Holds or refuses group commits. Always present, and open by default.
#[derive(Debug, Clone, Default)]
pub struct CommitGate(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    /// Whether `state` is other than `Open`: the writer looks at this alone while nobody uses the gate.
    closed: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Open,
    Held,
    Refusing(PortError),
}

impl CommitGate {
    /// Lets commits through.
    pub fn open(&self) {
        self.set(State::Open);
    }

    /// Lets commits wait until the gate is opened, as a disk that doesn't answer.
    pub fn hold(&self) {
        self.set(State::Held);
    }

    /// Rolls every group back with this error, as a disk that refuses.
    pub fn refuse(&self, error: PortError) {
        self.set(State::Refusing(error));
    }

    fn set(&self, state: State) {
        let mut current = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.0
            .closed
            .store(!matches!(state, State::Open), Ordering::Release);
        *current = state;
        self.0.changed.notify_all();
    }

    pub(crate) fn pass(&self) -> Result<(), PortError> {
        if !self.0.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*state {
                State::Open => return Ok(()),
                State::Refusing(error) => return Err(error.clone()),
                State::Held => state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}
