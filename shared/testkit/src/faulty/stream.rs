//! The stream under faults: publishing by record, reading by call.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{
    ClickStream, Outgoing, PortError, PortResult, Position, Shard, ShardReader, StreamRecord,
};

use super::Faults;
use super::faults::is_answer;

super::wrapper!(
    /// [`ClickStream`] under faults, each record by itself; those that work are put in their order. With `twice` a record
    /// is put twice although its answer comes, as a producer's own second try does.
    FaultyStream, ClickStream
);

async fn put(port: Arc<dyn ClickStream>, faults: Faults, record: Outgoing) -> PortResult<()> {
    let again = faults.is_twice().then(|| record.clone());
    let mut outcomes = port.publish(vec![record]).await;
    let outcome = outcomes
        .pop()
        .unwrap_or_else(|| Err(PortError::ambiguous("no outcome")));
    if let (Ok(()), Some(again)) = (&outcome, again) {
        drop(port.publish(vec![again]).await);
    }
    outcome
}

#[async_trait]
impl ClickStream for FaultyStream {
    async fn publish(&self, records: Vec<Outgoing>) -> Vec<PortResult<()>> {
        let mut outcomes = Vec::with_capacity(records.len());
        self.faults.before().await;
        for record in records {
            if !outcomes.is_empty() {
                self.faults.between().await;
            }
            let effect = put(Arc::clone(&self.port), self.faults.clone(), record);
            outcomes.push(self.faults.strike(effect).await);
        }
        self.faults.after(outcomes.iter().all(is_answer)).await;
        outcomes
    }
}

super::wrapper!(
    /// [`ShardReader`] under faults. With `short_read` batches are cut anew.
    FaultyReader, ShardReader
);

#[async_trait]
impl ShardReader for FaultyReader {
    async fn shards(&self) -> PortResult<Vec<Shard>> {
        self.faults.read(self.port.shards()).await
    }

    async fn read(
        &self,
        shard: &ShardId,
        after: Option<SequenceNumber>,
        limit: usize,
    ) -> PortResult<Vec<StreamRecord>> {
        let mut records = self.faults.read(self.port.read(shard, after, limit)).await?;
        records.truncate(self.faults.cut(records.len()));
        Ok(records)
    }

    async fn position(&self, consumer: &str, shard: &ShardId) -> PortResult<Position> {
        self.faults.read(self.port.position(consumer, shard)).await
    }

    async fn advance(&self, consumer: &str, shard: &ShardId, position: Position) -> PortResult<()> {
        let (port, consumer, shard) = (Arc::clone(&self.port), consumer.to_owned(), shard.clone());
        let effect = async move { port.advance(&consumer, &shard, position).await };
        self.faults.write(effect).await
    }

    async fn trim(&self, consumers: &[&str], before_ms: i64, limit: usize) -> PortResult<usize> {
        let port = Arc::clone(&self.port);
        let consumers: Vec<String> = consumers.iter().map(|consumer| (*consumer).to_owned()).collect();
        let effect = async move {
            let consumers: Vec<&str> = consumers.iter().map(String::as_str).collect();
            port.trim(&consumers, before_ms, limit).await
        };
        self.faults.write(effect).await
    }
}
