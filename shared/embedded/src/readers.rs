//! Connections for reading: a few, each used by one blocking task at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clickledger_core::ports::{PortError, PortResult};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::failure::{Failure, unwritten};
use crate::schema;

/// More would only compete for the same two cores.
const CONNECTIONS: usize = 4;

#[derive(Clone)]
pub(crate) struct Readers {
    database: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(database: PathBuf) -> Self {
        Self {
            database: Arc::new(database),
            idle: Arc::default(),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// Runs a query on a thread that may block. One statement sees one state of the database.
    pub(crate) async fn read<T, F>(&self, query: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(PortError::unavailable)?;
        let (database, idle) = (Arc::clone(&self.database), Arc::clone(&self.idle));
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let pooled = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let conn = match pooled {
                Some(conn) => conn,
                None => schema::connect(&database, &schema::READER).map_err(unwritten)?,
            };
            match query(&conn) {
                Ok(found) => {
                    idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
                    Ok(found)
                }
                Err(Failure::Refused(error)) => {
                    idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
                    Err(error)
                }
                // The connection goes with the error.
                Err(Failure::Broken(error)) => Err(unwritten(error)),
            }
        });
        task.await.map_err(PortError::unavailable)?
    }

    /// Closes what is idle.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
