//! Heartbeats: records that only say that a shard was alive, so that the lake can be proved complete (DESIGN section 4,
//! point 9).
//!
//! Invariant: a heartbeat is no click. Whoever reads the stream or the lake passes over it, and nobody quarantines it.

use serde::{Deserialize, Serialize};

use super::ids::HeartbeatId;
use super::sequence::SequenceNumber;
use crate::domain::bucket::ShardId;

/// The schema version of the line.
const VERSION: u8 = 1;

/// A heartbeat, as it lies on the stream and in the lake: one JSON line, about 110 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    v: u8,
    /// Which one.
    pub heartbeat: HeartbeatId,
    /// The shard that it was put on.
    pub shard: String,
    /// When it was sent, Unix milliseconds.
    pub sent_at_ms: i64,
}

impl Heartbeat {
    /// A new one.
    pub fn new(heartbeat: HeartbeatId, shard: &ShardId, sent_at_ms: i64) -> Self {
        Self {
            v: VERSION,
            heartbeat,
            shard: shard.to_string(),
            sent_at_ms,
        }
    }

    /// The JSON line, ending in a newline.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }

    /// The heartbeat of this line; `None` where it is something else.
    pub fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(line)
            .ok()
            .filter(|beat| beat.v == VERSION)
    }
}

/// A heartbeat that the stream acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Which one.
    pub id: HeartbeatId,
    /// On which shard.
    pub shard: ShardId,
    /// Its place there.
    pub sequence_number: SequenceNumber,
    /// Before it was put, Unix milliseconds: what arrived before this lies before it on the shard.
    pub sent_at_ms: i64,
    /// After it was acknowledged, Unix milliseconds: what arrives after this lies behind it on the shard.
    pub acknowledged_at_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::CountedClick;

    #[test]
    fn a_heartbeat_is_known_by_its_line_and_is_no_click() {
        let beat = Heartbeat::new(
            HeartbeatId::new(1_767_312_000_000, [7; 10]),
            &"shardId-000000000003".into(),
            1_767_312_000_000,
        );
        let line = beat.to_line().unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(Heartbeat::parse(&line), Some(beat));
        assert!(CountedClick::parse(&line).is_err());
        for other in [
            &b"{}"[..],
            b"",
            b"{\"v\":2,\"heartbeat\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"shard\":\"s\",\"sent_at_ms\":1}",
        ] {
            assert_eq!(Heartbeat::parse(other), None);
        }
    }
}
