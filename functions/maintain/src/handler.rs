//! A schedule's event to the task that it names.
//!
//! Invariant: an event that names no task that is known fails, and does nothing.

use async_trait::async_trait;
use clickledger_aws::{SnapshotWriter, TokenSecret};
use clickledger_core::ports::{PortError, PortResult, TokenKeys};
use serde::Deserialize;

/// What a schedule sends.
#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case", deny_unknown_fields)]
enum Event {
    Snapshot,
    RotateTokenKeys,
}

/// Why a task was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MaintainError {
    /// No such task.
    #[error("the event names no task: {0}")]
    NoTask(#[from] serde_json::Error),
    /// A port.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// The tasks.
#[async_trait]
pub(crate) trait Tasks: Send + Sync {
    /// Writes the snapshot; how many ads it has.
    async fn write_snapshot(&self) -> PortResult<usize>;
    /// Makes a new signing key.
    async fn rotate_keys(&self) -> PortResult<()>;
}

/// The tasks on AWS.
pub(crate) struct OnAws {
    pub(crate) snapshot: SnapshotWriter,
    pub(crate) keys: TokenSecret,
}

#[async_trait]
impl Tasks for OnAws {
    async fn write_snapshot(&self) -> PortResult<usize> {
        self.snapshot.write().await
    }
    async fn rotate_keys(&self) -> PortResult<()> {
        self.keys.rotate().await.map(drop)
    }
}

/// Works one event.
///
/// # Errors
/// [`MaintainError`]
pub(crate) async fn work(tasks: &impl Tasks, event: &str) -> Result<(), MaintainError> {
    match serde_json::from_str(event)? {
        Event::Snapshot => {
            let ads = tasks.write_snapshot().await?;
            tracing::debug!(ads, "the catalogue's snapshot is written");
        }
        Event::RotateTokenKeys => {
            tasks.rotate_keys().await?;
            tracing::info!("a new token key is made; it signs in 10 minutes");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Noted(Mutex<Vec<&'static str>>);

    #[async_trait]
    impl Tasks for Noted {
        async fn write_snapshot(&self) -> PortResult<usize> {
            self.0.lock().unwrap().push("snapshot");
            Ok(3)
        }
        async fn rotate_keys(&self) -> PortResult<()> {
            self.0.lock().unwrap().push("rotate");
            Err(PortError::unavailable("down"))
        }
    }

    #[tokio::test]
    async fn an_event_does_the_task_that_it_names() {
        let tasks = Noted::default();
        let event = include_str!("../../../tests/fixtures/schedule_snapshot.json");
        assert!(work(&tasks, event).await.is_ok());
        let event = include_str!("../../../tests/fixtures/schedule_rotate_token_keys.json");
        let failed = work(&tasks, event).await;
        assert!(matches!(failed, Err(MaintainError::Port(_))));
        assert_eq!(*tasks.0.lock().unwrap(), ["snapshot", "rotate"]);
    }

    #[tokio::test]
    async fn an_event_that_names_none_does_nothing() {
        let tasks = Noted::default();
        for event in ["{}", "null", r#"{"task":"seal"}"#] {
            let failed = work(&tasks, event).await;
            assert!(matches!(failed, Err(MaintainError::NoTask(_))), "{event}");
        }
        assert!(tasks.0.lock().unwrap().is_empty());
    }
}
