//! Heartbeats on the stream in memory, and which of them were acknowledged.

use std::collections::BTreeMap;

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::heartbeat::Beat;
use clickledger_core::domain::ids::HeartbeatId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{BeatenShard, HeartbeatLog, Heartbeats, PortResult};

use super::{Held, MemoryStream};

#[async_trait]
impl Heartbeats for MemoryStream {
    async fn beat(&self, shard: &ShardId, line: Vec<u8>) -> PortResult<SequenceNumber> {
        self.put_on(shard, line)
    }
}

/// [`HeartbeatLog`] in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryHeartbeatLog {
    state: Held<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they became known.
    shards: Vec<BeatenShard>,
    /// By shard, in the order of sending.
    beats: BTreeMap<ShardId, BTreeMap<(i64, HeartbeatId), Beat>>,
}

impl MemoryHeartbeatLog {
    /// The shard's heartbeats in the order of sending.
    pub fn all(&self, shard: &ShardId) -> Vec<Beat> {
        let state = self.state.lock();
        let beats = state.beats.get(shard).into_iter().flatten();
        beats.map(|(_, beat)| beat.clone()).collect()
    }
}

#[async_trait]
impl HeartbeatLog for MemoryHeartbeatLog {
    async fn know(&self, shard: &BeatenShard) -> PortResult<()> {
        let mut state = self.state.lock();
        if !state.shards.iter().any(|known| known.shard == shard.shard) {
            state.shards.push(shard.clone());
        }
        Ok(())
    }

    async fn known(&self) -> PortResult<Vec<BeatenShard>> {
        Ok(BeatenShard::parents_first(self.state.lock().shards.clone()))
    }

    async fn acknowledged(&self, beat: &Beat) -> PortResult<()> {
        let mut state = self.state.lock();
        let beats = state.beats.entry(beat.shard.clone()).or_default();
        beats.insert((beat.sent_at_ms, beat.id), beat.clone());
        Ok(())
    }

    async fn around(&self, shard: &ShardId, from_ms: i64, to_ms: i64) -> PortResult<Vec<Beat>> {
        let mut beats = self.all(shard);
        if let Some(last) = beats.iter().position(|beat| beat.sent_at_ms >= to_ms) {
            beats.truncate(last + 1);
        }
        if let Some(first) = beats.iter().rposition(|beat| beat.acknowledged_at_ms <= from_ms) {
            beats.drain(..first);
        }
        Ok(beats)
    }

    async fn last(&self, shard: &ShardId) -> PortResult<Option<Beat>> {
        Ok(self.all(shard).pop())
    }

    async fn expire(&self, before_ms: i64) -> PortResult<usize> {
        let mut expired = 0;
        for beats in self.state.lock().beats.values_mut() {
            let (before, last) = (beats.len(), beats.keys().next_back().copied());
            beats.retain(|key, beat| beat.acknowledged_at_ms >= before_ms || Some(*key) == last);
            expired += before - beats.len();
        }
        Ok(expired)
    }
}
