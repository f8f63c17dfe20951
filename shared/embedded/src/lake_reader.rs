//! Reading the raw folder: proofs, recounts and promotions.
//!
//! Invariant: a line counts once it is whole: the pump appends while others read, and a torn last line is not there yet.
//! Whatever lies in the folder, memory stays within bounds: ids are gathered in several passes over the files (module
//! `passes`), counts are spilled as sorted runs and merged (`groups`), and single clicks are listed by windows (`window`).

#[cfg(feature = "parquet")]
mod columns;
#[cfg(feature = "parquet")]
mod compact;
mod files;
mod groups;
mod passes;
mod result;
mod window;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use clickledger_core::domain::heartbeat::Heartbeat;
use clickledger_core::domain::ids::{ClickId, HeartbeatId};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{
    ClickedHour, LakeClick, LakeReader, LakeSlice, PortError, PortResult, Recount, RecountRow,
};

use self::files::{LakeFile, click_id_of, scan};
use self::groups::Groups;
use self::passes::in_passes;
use self::window::{Kind, Window};

/// What may be in memory at the same time, by thread but for the window.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Ids of one pass: 36 MB as a set. (A set doubles beyond 1.8 million.)
    ids: u64,
    /// Counts of ads: 36 MB, and as much again while they are sorted.
    ads: usize,
    /// Other counts: 35 MB, and as much again while they are sorted.
    others: usize,
    /// Clicks of a window: some 20 MB.
    window: usize,
}

const SIZES: Sizes = Sizes {
    ids: 1_600_000,
    ads: 1_500_000,
    others: 800_000,
    window: 100_000,
};

/// The embedded [`LakeReader`].
#[derive(Clone)]
pub struct LakeFolder {
    sizes: Sizes,
    lake: Arc<PathBuf>,
    /// Where the results of recounts lie.
    results: Arc<PathBuf>,
    /// The clicks that were listed last.
    window: Arc<Mutex<Option<Window>>>,
}

impl LakeFolder {
    /// Reads the lake of this folder; results of recounts that an earlier process has left are removed.
    pub(crate) fn open(lake: PathBuf, results: PathBuf) -> io::Result<Self> {
        match std::fs::remove_dir_all(&results) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self {
            sizes: SIZES,
            lake: Arc::new(lake),
            results: Arc::new(results),
            window: Arc::default(),
        })
    }

    /// Works on a thread that may block.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> PortResult<T> {
        let reader = self.clone();
        tokio::task::spawn_blocking(move || work(&reader))
            .await
            .map_err(PortError::unavailable)?
            .map_err(PortError::unavailable)
    }

    /// Makes one Parquet file of an arrival partition's lines, and removes what it was made of; says how many lines were
    /// moved. For partitions that nothing is appended to any more: those of days that are sealed.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where files can't be read or written; then the lines lie where they lay.
    #[cfg(feature = "parquet")]
    pub async fn compact(&self, arrival: Hour) -> PortResult<u64> {
        self.work(move |reader| compact::compact(&reader.lake, arrival))
            .await
    }

    /// The arrival partitions before this one that hold lines which are not compacted, in order.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where folders can't be read.
    #[cfg(feature = "parquet")]
    pub async fn uncompacted(&self, before: Hour) -> PortResult<Vec<Hour>> {
        self.work(move |reader| compact::uncompacted(&reader.lake, before))
            .await
    }

    fn files(&self, arrivals: &Range<Hour>) -> io::Result<Vec<LakeFile>> {
        files::list(&self.lake, arrivals)
    }

    /// In how many passes the clicks of this hour (all, if `None`) are read.
    fn passes(&self, files: &[LakeFile], hour: Option<Hour>) -> io::Result<u64> {
        Ok(passes::expected(files, hour)?.div_ceil(self.sizes.ids))
    }

    /// These clicks, as far as they lie in the slice.
    fn find(&self, slice: &LakeSlice, wanted: &HashSet<ClickId>) -> io::Result<BTreeMap<ClickId, LakeClick>> {
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let each = |found: &mut BTreeMap<ClickId, LakeClick>, _: &LakeFile, line: &[u8]| {
            // Nearly every line is told by its beginning to be another one.
            if click_id_of(line).is_some_and(|id| !wanted.contains(&id)) {
                return;
            }
            if let Some(click) = LakeClick::parse(line)
                && wanted.contains(&click.click.click_id)
                && is_of(slice, &click)
            {
                found.insert(click.click.click_id, click);
            }
        };
        let found = scan(&self.files(&slice.arrivals)?, each)?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Clicks of this kind, in the order of their ids, after `after`, at most `limit`; and whether there may be more.
    fn listed(
        &self,
        kind: Kind,
        slice: &LakeSlice,
        after: Option<ClickId>,
        limit: usize,
    ) -> io::Result<(Vec<LakeClick>, bool)> {
        let kept = self.window.lock().unwrap_or_else(PoisonError::into_inner).take();
        let files = self.files(&slice.arrivals)?;
        let window = Window::brought_up(kept, (kind, slice), after, self.sizes.window, limit, &files)?;
        let (page, more) = window.page(after, limit);
        if more {
            *self.window.lock().unwrap_or_else(PoisonError::into_inner) = Some(window);
        }
        Ok((page, more))
    }

    fn orphans(
        &self,
        slice: &LakeSlice,
        owners: Range<Hour>,
        mut after: Option<ClickId>,
        limit: usize,
    ) -> io::Result<Vec<LakeClick>> {
        let owners = LakeSlice {
            arrivals: owners,
            clicked: None,
        };
        let mut orphans = Vec::new();
        loop {
            let (duplicates, more) = self.listed(Kind::Duplicate, slice, after, self.sizes.window)?;
            let wanted = duplicates.iter().filter_map(|click| click.duplicate_of).collect();
            let found = self.find(&owners, &wanted)?;
            after = duplicates.last().map(|last| last.click.click_id);
            let is_orphan = |click: &LakeClick| {
                click
                    .duplicate_of
                    .is_some_and(|owner| !found.contains_key(&owner))
            };
            orphans.extend(duplicates.into_iter().filter(is_orphan));
            if !more || orphans.len() >= limit {
                orphans.truncate(limit);
                return Ok(orphans);
            }
        }
    }

    fn hours(&self, arrivals: &Range<Hour>) -> io::Result<Vec<ClickedHour>> {
        type Hours = HashMap<Hour, (u64, Hour)>;
        let files = self.files(arrivals)?;
        let passes = self.passes(&files, None)?;
        let found = in_passes(
            &files,
            passes,
            None,
            || Ok(Hours::new()),
            |hours: &mut Hours, click, first, arrival| {
                let hour = hours.entry(Hour::of(click.clicked_at_ms)).or_insert((0, arrival));
                hour.0 += u64::from(first);
                hour.1 = hour.1.max(arrival);
                Ok(())
            },
        )?;
        let mut hours = BTreeMap::<Hour, (u64, Hour)>::new();
        for (hour, (clicks, last_arrival)) in found.into_iter().flatten() {
            let sum = hours.entry(hour).or_insert((0, last_arrival));
            sum.0 += clicks;
            sum.1 = sum.1.max(last_arrival);
        }
        let hours = hours
            .into_iter()
            .map(|(hour, (clicks, last_arrival))| ClickedHour {
                hour,
                clicks,
                last_arrival,
            });
        Ok(hours.collect())
    }

    fn recount_hour(&self, hour: Hour, arrivals: &Range<Hour>) -> io::Result<Recount> {
        let files = self.files(arrivals)?;
        let passes = self.passes(&files, Some(hour))?;
        let folder = result::Folder::new(&self.results)?;
        let groups = in_passes(
            &files,
            passes,
            Some(hour),
            || Ok(Groups::new(folder.runs(), self.sizes)),
            |groups: &mut Groups, click, first, _| groups.add(click, first),
        )?;
        let mut runs = Vec::new();
        for groups in groups {
            runs.extend(groups.finish()?);
        }
        folder.finish(hour, runs)
    }
}

fn is_of(slice: &LakeSlice, click: &LakeClick) -> bool {
    let hour = Hour::of(click.click.clicked_at_ms);
    slice.clicked.is_none_or(|clicked| clicked == hour)
}

#[async_trait]
impl LakeReader for LakeFolder {
    async fn heartbeats(&self, arrivals: Range<Hour>) -> PortResult<HashSet<HeartbeatId>> {
        let heartbeats = move |reader: &Self| {
            let each = |found: &mut HashSet<HeartbeatId>, _: &LakeFile, line: &[u8]| {
                // Nearly every line is told by its beginning to be a click.
                if click_id_of(line).is_none()
                    && let Some(beat) = Heartbeat::parse(line)
                {
                    found.insert(beat.heartbeat);
                }
            };
            let found = scan(&reader.files(&arrivals)?, each)?;
            Ok(found.into_iter().flatten().collect())
        };
        self.work(heartbeats).await
    }

    async fn present(&self, arrivals: Range<Hour>, clicks: &[ClickId]) -> PortResult<HashSet<ClickId>> {
        let wanted = clicks.iter().copied().collect();
        let slice = LakeSlice {
            arrivals,
            clicked: None,
        };
        let find = move |reader: &Self| Ok(reader.find(&slice, &wanted)?.into_keys().collect());
        self.work(find).await
    }

    /// Nothing is ever undelivered here: what the pump can't append stays on the stream.
    async fn undelivered(&self, _arrivals: Range<Hour>) -> PortResult<u64> {
        Ok(0)
    }

    async fn clicked_hours(&self, arrivals: Range<Hour>) -> PortResult<Vec<ClickedHour>> {
        self.work(move |reader| reader.hours(&arrivals)).await
    }

    async fn unclaimed(
        &self,
        slice: &LakeSlice,
        after: Option<ClickId>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>> {
        let slice = slice.clone();
        let list = move |reader: &Self| Ok(reader.listed(Kind::Unclaimed, &slice, after, limit)?.0);
        self.work(list).await
    }

    async fn clicks(&self, slice: &LakeSlice, clicks: &[ClickId]) -> PortResult<Vec<LakeClick>> {
        let (slice, wanted) = (slice.clone(), clicks.iter().copied().collect());
        let find = move |reader: &Self| Ok(reader.find(&slice, &wanted)?.into_values().collect());
        self.work(find).await
    }

    async fn orphaned(
        &self,
        slice: &LakeSlice,
        owners: Range<Hour>,
        after: Option<ClickId>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>> {
        let slice = slice.clone();
        self.work(move |reader| reader.orphans(&slice, owners, after, limit))
            .await
    }

    async fn recount(&self, hour: Hour, arrivals: Range<Hour>) -> PortResult<Recount> {
        self.work(move |reader| reader.recount_hour(hour, &arrivals))
            .await
    }

    async fn rows(&self, recount: &str, from: u64, limit: usize) -> PortResult<Vec<RecountRow>> {
        let id = recount.to_owned();
        let rows = move |reader: &Self| result::rows(&reader.results, &id, from, limit);
        let rows = self.work(rows).await?;
        rows.ok_or_else(|| PortError::rejected(format!("there is no result {recount:?}")))
    }

    async fn forget(&self, recount: &str) -> PortResult<()> {
        let id = recount.to_owned();
        self.work(move |reader| result::forget(&reader.results, &id))
            .await
    }
}

#[cfg(test)]
mod tests;
