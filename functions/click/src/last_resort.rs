//! The last resort: the function's log, which CloudWatch keeps. An alarm counts the field `last_resort_record`.
//!
//! Invariant: one line holds one record, in the form in which the spill's queue takes it, so that it can be put there as it is.

use std::io::{self, Write};

use clickledger_aws::{LAST_RESORT_FIELD, SpillQueue};
use clickledger_core::ports::{Outgoing, PortError, PortResult};
use clickledger_core::service::click::LastResort;
use serde_json::json;

/// Writes records as JSON lines.
pub(crate) struct LogRecords {
    open: fn() -> Box<dyn Write>,
}

impl LogRecords {
    /// To the function's log.
    pub(crate) fn to_stdout() -> Self {
        Self {
            open: || Box::new(io::stdout().lock()),
        }
    }
}

fn line(record: &Outgoing) -> PortResult<String> {
    let line = json!({
        "level": "ERROR",
        "message": "neither stream nor spill took this click",
        LAST_RESORT_FIELD: SpillQueue::body(record)?,
    });
    Ok(format!("{line}\n"))
}

impl LastResort for LogRecords {
    fn keep(&self, record: &Outgoing) -> PortResult<()> {
        let line = line(record)?;
        let mut log = (self.open)();
        log.write_all(line.as_bytes())
            .and_then(|()| log.flush())
            .map_err(PortError::ambiguous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_the_record_as_the_spill_takes_it() {
        let record = Outgoing {
            partition_key: "7#3".to_owned(),
            data: b"{\"v\":1}\n".to_vec(),
        };
        let line = line(&record).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let body = event["last_resort_record"].as_str().unwrap();
        assert_eq!(SpillQueue::record(body).unwrap(), record);
    }

    #[test]
    fn a_log_that_is_closed_has_not_kept_it() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = LogRecords {
            open: || Box::new(Closed),
        };
        let record = Outgoing {
            partition_key: "7#3".to_owned(),
            data: Vec::new(),
        };
        assert!(log.keep(&record).is_err());
    }
}
