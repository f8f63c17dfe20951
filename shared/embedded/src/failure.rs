//! SQLite's errors as the ports' errors.
//!
//! Invariant: whatever is called `Unavailable` was rolled back; where a commit's own fsync failed nobody knows what the
//! disk will say after a crash, and that is `Ambiguous`.

use std::path::Path;

use clickledger_core::domain::packed::NotPacked;
use clickledger_core::ports::PortError;
use rusqlite::ffi;

use crate::OpenError;

/// Why one job of a group did nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The job alone is refused; it has written nothing, and its group goes on.
    Refused(PortError),
    /// The database refused: the whole group is rolled back.
    Broken(rusqlite::Error),
}

impl Failure {
    /// What it means for whoever opens this folder.
    pub(crate) fn on_opening(self, dir: &Path) -> OpenError {
        match self {
            Self::Broken(error) => OpenError::Database(error),
            Self::Refused(source) => OpenError::Damaged {
                dir: dir.to_owned(),
                source,
            },
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::Refused(error)
    }
}

/// An error before the commit, or while reading: certainly nothing was written.
pub(crate) fn unwritten(error: rusqlite::Error) -> PortError {
    PortError::unavailable(error)
}

/// An error of the commit itself.
pub(crate) fn of_commit(error: rusqlite::Error) -> PortError {
    match error
        .sqlite_error()
        .map(|e| (e.extended_code, e.extended_code & 0xff))
    {
        // No commit mark was written: the disk is full or read-only, or another holds the lock.
        Some((_, ffi::SQLITE_FULL | ffi::SQLITE_READONLY | ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED)) => {
            PortError::unavailable(error)
        }
        // Written, but not known to be durable; or something that nobody foresaw.
        _ => PortError::ambiguous(error),
    }
}

/// What a stored row should never be.
#[derive(Debug, thiserror::Error)]
#[error("a stored {0} cannot be read: the data folder was changed by something else, or is damaged")]
pub(crate) struct Damaged(pub(crate) &'static str);

impl From<NotPacked> for Damaged {
    fn from(_: NotPacked) -> Self {
        Self("count")
    }
}

impl From<NotPacked> for Failure {
    fn from(error: NotPacked) -> Self {
        Damaged::from(error).into()
    }
}

impl From<Damaged> for PortError {
    fn from(damaged: Damaged) -> Self {
        PortError::rejected(damaged)
    }
}

impl From<Damaged> for Failure {
    fn from(damaged: Damaged) -> Self {
        Self::Refused(damaged.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn only_a_commit_that_may_have_reached_the_disk_is_ambiguous() {
        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_READONLY_DBMOVED,
            ffi::SQLITE_BUSY_SNAPSHOT,
        ] {
            assert!(
                matches!(of_commit(error(code)), PortError::Unavailable(_)),
                "{code}"
            );
        }
        for code in [
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_NOMEM,
        ] {
            assert!(
                matches!(of_commit(error(code)), PortError::Ambiguous(_)),
                "{code}"
            );
        }
    }
}
