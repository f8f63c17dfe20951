//! Single clicks, listed by their ids: a page needs all files to be read, so what is read for one page is kept for the
//! next ones; of files that have grown since, only the new lines are read.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;

use clickledger_core::domain::ids::ClickId;
use clickledger_core::ports::{LakeClick, LakeSlice};

use super::files::{LakeFile, click_id_of, in_threads, lines, workers};
use super::is_of;

/// Which clicks are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Valid ones that are not claimed.
    Unclaimed,
    /// Duplicates whose owner is named.
    Duplicate,
}

impl Kind {
    fn wants(self, click: &LakeClick) -> bool {
        match self {
            Self::Unclaimed => click.is_unclaimed(),
            Self::Duplicate => click.duplicate_of.is_some(),
        }
    }

    /// Bytes that every line in our own spelling has which could be wanted: looking for them is several times cheaper
    /// than reading the line.
    fn mark(self) -> &'static [u8] {
        match self {
            Self::Unclaimed => br#""claimed":false"#,
            Self::Duplicate => br#""duplicate_of":""#,
        }
    }
}

/// The first clicks of a kind after some id.
pub(super) struct Window {
    kind: Kind,
    slice: LakeSlice,
    after: Option<ClickId>,
    clicks: BTreeMap<ClickId, LakeClick>,
    room: usize,
    /// Whether clicks behind the last one were left out.
    more: bool,
    /// How far each file was read.
    read: HashMap<PathBuf, u64>,
}

impl Window {
    /// The window that a page after `after` is read from: `kept`, if it is of the same list and reaches that far, else a
    /// new one; with all that lies in the files now.
    pub(super) fn brought_up(
        kept: Option<Self>,
        (kind, slice): (Kind, &LakeSlice),
        after: Option<ClickId>,
        room: usize,
        limit: usize,
        files: &[LakeFile],
    ) -> io::Result<Self> {
        let mut kept = kept.filter(|kept| {
            kept.kind == kind && kept.slice == *slice && kept.after <= after && kept.knows(files)
        });
        if let Some(kept) = &mut kept {
            kept.read_on(files)?;
        }
        if let Some(kept) = kept
            && kept.holds(after, limit)
        {
            return Ok(kept);
        }
        let mut new = Self {
            kind,
            slice: slice.clone(),
            after,
            clicks: BTreeMap::new(),
            room: room.max(limit),
            more: false,
            read: HashMap::new(),
        };
        new.read_on(files)?;
        Ok(new)
    }

    /// Whether all files that were read are still there: compaction takes some away, and brings others.
    fn knows(&self, files: &[LakeFile]) -> bool {
        let there = files.iter().filter(|file| self.read.contains_key(&file.path));
        there.count() == self.read.len()
    }

    /// Whether a page after `after` lies within.
    fn holds(&self, after: Option<ClickId>, limit: usize) -> bool {
        !self.more || self.later(after).take(limit).count() == limit
    }

    fn later(&self, after: Option<ClickId>) -> impl Iterator<Item = &LakeClick> {
        let from = match after {
            Some(after) => std::ops::Bound::Excluded(after),
            None => std::ops::Bound::Unbounded,
        };
        self.clicks
            .range((from, std::ops::Bound::Unbounded))
            .map(|(_, click)| click)
    }

    /// A page, and whether there may be more behind it.
    pub(super) fn page(&self, after: Option<ClickId>, limit: usize) -> (Vec<LakeClick>, bool) {
        let mut later = self.later(after);
        let page: Vec<LakeClick> = later.by_ref().take(limit).copied().collect();
        let more = self.more || later.next().is_some();
        (page, more)
    }

    /// Takes a click in, if it is among the first ones.
    fn take(&mut self, click: LakeClick) {
        self.clicks.insert(click.click.click_id, click);
        if self.clicks.len() > self.room {
            self.clicks.pop_last();
            self.more = true;
        }
    }

    /// Whether a click of this id would be taken in.
    fn has_room(&self, id: ClickId) -> bool {
        Some(id) > self.after
            && (!self.more || self.clicks.last_key_value().is_some_and(|(last, _)| id < *last))
    }

    fn read_on(&mut self, files: &[LakeFile]) -> io::Result<()> {
        let (next, window) = (
            std::sync::atomic::AtomicUsize::new(0),
            std::sync::Mutex::new(self),
        );
        let lock = || window.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (kind, slice) = {
            let window = lock();
            (window.kind, window.slice.clone())
        };
        let mark = memchr::memmem::Finder::new(kind.mark());
        in_threads(workers().min(files.len()), || {
            while let Some(file) = files.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                let from = lock().read.get(&file.path).copied().unwrap_or(0);
                let file = LakeFile { from, ..file.clone() };
                let read = lines(&file, |line| {
                    if click_id_of(line).is_some() && mark.find(line).is_none() {
                        return;
                    }
                    if let Some(click) = LakeClick::parse(line)
                        && kind.wants(&click)
                        && is_of(&slice, &click)
                    {
                        let mut window = lock();
                        if window.has_room(click.click.click_id) {
                            window.take(click);
                        }
                    }
                })?;
                lock().read.insert(file.path, read);
            }
            Ok(())
        })?;
        Ok(())
    }
}
