//! Reading the lake under faults.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::ids::{ClickId, HeartbeatId};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{
    ClickedHour, LakeClick, LakeReader, LakeSlice, PortResult, Recount, RecountRow,
};

super::wrapper!(
    /// [`LakeReader`] under faults.
    FaultyLakeReader, LakeReader
);

#[async_trait]
impl LakeReader for FaultyLakeReader {
    async fn heartbeats(&self, arrivals: Range<Hour>) -> PortResult<HashSet<HeartbeatId>> {
        self.faults.read(self.port.heartbeats(arrivals)).await
    }

    async fn present(&self, arrivals: Range<Hour>, clicks: &[ClickId]) -> PortResult<HashSet<ClickId>> {
        self.faults.read(self.port.present(arrivals, clicks)).await
    }

    async fn undelivered(&self, arrivals: Range<Hour>) -> PortResult<u64> {
        self.faults.read(self.port.undelivered(arrivals)).await
    }

    async fn clicked_hours(&self, arrivals: Range<Hour>) -> PortResult<Vec<ClickedHour>> {
        self.faults.read(self.port.clicked_hours(arrivals)).await
    }

    async fn unclaimed(
        &self,
        slice: &LakeSlice,
        after: Option<ClickId>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>> {
        self.faults.read(self.port.unclaimed(slice, after, limit)).await
    }

    async fn clicks(&self, slice: &LakeSlice, clicks: &[ClickId]) -> PortResult<Vec<LakeClick>> {
        self.faults.read(self.port.clicks(slice, clicks)).await
    }

    async fn orphaned(
        &self,
        slice: &LakeSlice,
        owners: Range<Hour>,
        after: Option<ClickId>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>> {
        self.faults
            .read(self.port.orphaned(slice, owners, after, limit))
            .await
    }

    async fn recount(&self, hour: Hour, arrivals: Range<Hour>) -> PortResult<Recount> {
        let port = Arc::clone(&self.port);
        self.faults
            .write(async move { port.recount(hour, arrivals).await })
            .await
    }

    async fn rows(&self, recount: &str, from: u64, limit: usize) -> PortResult<Vec<RecountRow>> {
        self.faults.read(self.port.rows(recount, from, limit)).await
    }

    async fn forget(&self, recount: &str) -> PortResult<()> {
        let (port, recount) = (Arc::clone(&self.port), recount.to_owned());
        self.faults
            .write(async move { port.forget(&recount).await })
            .await
    }
}
