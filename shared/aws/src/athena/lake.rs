//! The [`LakeReader`] on S3 and Athena.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use async_trait::async_trait;
use clickledger_core::domain::ids::{ClickId, HeartbeatId};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{
    ClickedHour, LakeClick, LakeReader, LakeSlice, PortResult, Recount, RecountRow,
};
use tokio::sync::Mutex;

use super::clicks::{click, field};
use super::history::History;
use super::query::Athena;
use super::rows::Reader;
use super::sql;
use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure::{self, damaged};
use crate::patience::Patience;

/// Most ids of one statement, which may have 262,144 bytes.
const MAX_IDS: usize = 5_000;
/// No arrivals.
const NONE: Range<Hour> = Hour(0)..Hour(0);

/// The lake on S3, read by Athena.
pub struct AthenaLake {
    athena: Athena,
    history: History,
    /// How far each recount's result was read: rows are asked for in order.
    readers: Mutex<HashMap<String, Reader>>,
}

impl Aws {
    /// The lake, each of its calls with this patience; a query may take ten minutes.
    ///
    /// # Errors
    /// The name of the bucket, of the lake's database or of the workgroup is missing.
    pub async fn lake(&self, patience: Patience) -> Result<AthenaLake, ConfigError> {
        Ok(AthenaLake {
            athena: self.athena(patience).await?,
            history: self.history(patience).await?,
            readers: Mutex::default(),
        })
    }

    pub(super) async fn athena(&self, patience: Patience) -> Result<Athena, ConfigError> {
        Ok(Athena {
            client: self.signed("athena").await?,
            s3: self.s3(),
            bucket: self.name(Resource::Bucket)?,
            database: self.name(Resource::LakeDatabase)?,
            workgroup: self.name(Resource::Workgroup)?,
            patience,
        })
    }
}

fn all(arrivals: Range<Hour>) -> LakeSlice {
    LakeSlice {
        arrivals,
        clicked: None,
    }
}

impl AthenaLake {
    /// A statement about clicks, filled in; of the days that are Parquet these are read.
    async fn filled(&self, statement: &str, slice: &LakeSlice, places: &[(&str, &str)]) -> String {
        let compacted = self.history.current(&slice.arrivals).await;
        sql::of_clicks(statement, slice, &compacted, places)
    }

    async fn ask(&self, statement: &str) -> PortResult<Vec<csv::StringRecord>> {
        let id = self.athena.run(statement).await?;
        let rows = self.athena.rows(&id).await?;
        self.athena.forget(&id).await?;
        Ok(rows)
    }

    async fn clicks_where(
        &self,
        statement: &str,
        slice: &LakeSlice,
        which: &str,
        owners: &Range<Hour>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>> {
        let (order, limit) = (sql::order(), limit.to_string());
        let owner_partitions = sql::partitions(owners);
        let owner_clicks = sql::source(&owner_partitions, &self.history.current(owners).await);
        let places = [
            ("which", which),
            ("order", order.as_str()),
            ("limit", limit.as_str()),
            ("owner_partitions", owner_partitions.as_str()),
            ("owner_clicks", owner_clicks.as_str()),
        ];
        let rows = self.ask(&self.filled(statement, slice, &places).await).await?;
        rows.iter().map(click).collect()
    }
}

#[async_trait]
impl LakeReader for AthenaLake {
    async fn heartbeats(&self, arrivals: Range<Hour>) -> PortResult<HashSet<HeartbeatId>> {
        let rows = self
            .ask(&self.filled(sql::HEARTBEATS, &all(arrivals), &[]).await)
            .await?;
        rows.iter().map(|row| field(row, 0, "heartbeat")).collect()
    }

    async fn present(&self, arrivals: Range<Hour>, clicks: &[ClickId]) -> PortResult<HashSet<ClickId>> {
        let (slice, mut found) = (all(arrivals), HashSet::new());
        for ids in clicks.chunks(MAX_IDS) {
            let ids = sql::list(ids);
            let rows = self
                .ask(&self.filled(sql::PRESENT, &slice, &[("ids", ids.as_str())]).await)
                .await?;
            for row in &rows {
                found.insert(field(row, 0, "click_id")?);
            }
        }
        Ok(found)
    }

    /// Objects are named by their partitions behind the kind of error, of which there are few; so all are listed.
    async fn undelivered(&self, arrivals: Range<Hour>) -> PortResult<u64> {
        let partitions: HashSet<String> = (arrivals.start.0..arrivals.end.0)
            .map(|hour| sql::partition(Hour(hour)))
            .map(|(day, hour)| format!("dt={day}/hr={hour}/"))
            .collect();
        // lake-errors/<kind>/dt=yyyy-mm-dd/hr=hh/…
        let within = |key: &&str| {
            let partition = key
                .split_once("/dt=")
                .and_then(|(_, rest)| rest.get(.."yyyy-mm-dd/hr=hh/".len()));
            partition.is_some_and(|partition| partitions.contains(&format!("dt={partition}")))
        };
        let (mut found, mut next) = (0, None);
        loop {
            let list = || async {
                let list = self.athena.s3.list_objects_v2().bucket(&self.athena.bucket);
                list.prefix("lake-errors/")
                    .set_continuation_token(next.clone())
                    .send()
                    .await
                    .map_err(failure::of_sdk)
            };
            let page = self.athena.patience.run(list).await?;
            let keys = page.contents().iter().filter_map(|object| object.key());
            found += keys.filter(within).count() as u64;
            next = page.next_continuation_token().map(str::to_owned);
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    async fn clicked_hours(&self, arrivals: Range<Hour>) -> PortResult<Vec<ClickedHour>> {
        let hours: Vec<Hour> = (arrivals.start.0..arrivals.end.0).map(Hour).collect();
        let rows = self
            .ask(&self.filled(sql::CLICKED_HOURS, &all(arrivals), &[]).await)
            .await?;
        let of_row = |row: &csv::StringRecord| {
            let last: String = field(row, 2, "last_arrival")?;
            let named = |hour: &&Hour| {
                let (day, hour) = sql::partition(**hour);
                last == format!("{day}T{hour}")
            };
            Ok(ClickedHour {
                hour: Hour::of(field(row, 0, "hour_ms")?),
                clicks: field(row, 1, "clicks")?,
                last_arrival: *hours.iter().find(named).ok_or_else(|| damaged("last_arrival"))?,
            })
        };
        rows.iter().map(of_row).collect()
    }

    async fn unclaimed(
        &self,
        slice: &LakeSlice,
        after: Option<ClickId>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>> {
        let which = format!("verdict = 'valid' AND NOT claimed AND {}", sql::behind(after));
        self.clicks_where(sql::CLICKS, slice, &which, &NONE, limit).await
    }

    async fn clicks(&self, slice: &LakeSlice, clicks: &[ClickId]) -> PortResult<Vec<LakeClick>> {
        let mut found = Vec::new();
        for ids in clicks.chunks(MAX_IDS) {
            let which = format!("click_id IN ({})", sql::list(ids));
            found.extend(
                self.clicks_where(sql::CLICKS, slice, &which, &NONE, ids.len())
                    .await?,
            );
        }
        found.sort_unstable_by_key(|found| found.click.click_id);
        Ok(found)
    }

    async fn orphaned(
        &self,
        slice: &LakeSlice,
        owners: Range<Hour>,
        after: Option<ClickId>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>> {
        self.clicks_where(sql::ORPHANED, slice, &sql::behind(after), &owners, limit)
            .await
    }

    async fn recount(&self, hour: Hour, arrivals: Range<Hour>) -> PortResult<Recount> {
        let slice = LakeSlice {
            arrivals,
            clicked: Some(hour),
        };
        let id = self
            .athena
            .run(&self.filled(sql::RECOUNT, &slice, &[]).await)
            .await?;
        let totals = Reader::totals(&self.athena, &id).await?;
        Ok(Recount { id, totals })
    }

    async fn rows(&self, recount: &str, from: u64, limit: usize) -> PortResult<Vec<RecountRow>> {
        let known = self.readers.lock().await.remove(recount);
        // Only whoever takes up another's work, or asks again, begins at the beginning.
        let mut reader = known.filter(|reader| reader.given == from).unwrap_or_default();
        let mut rows = Vec::with_capacity(limit.min(10_000));
        while rows.len() < limit {
            let place = reader.given;
            match reader.next(&self.athena, recount).await? {
                Some(row) if place >= from => rows.push(row),
                Some(_) => {}
                None => break,
            }
        }
        self.readers.lock().await.insert(recount.to_owned(), reader);
        Ok(rows)
    }

    async fn forget(&self, recount: &str) -> PortResult<()> {
        self.readers.lock().await.remove(recount);
        self.athena.forget(recount).await
    }
}
