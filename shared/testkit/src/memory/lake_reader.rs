//! Reading a lake of objects that whoever drives the test delivers.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use async_trait::async_trait;
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::heartbeat::Heartbeat;
use clickledger_core::domain::ids::{ClickId, HeartbeatId};
use clickledger_core::domain::manifest::LakeTotals;
use clickledger_core::domain::mutation::{Broken, Mutation};
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::ports::{
    ClickedHour, LakeClick, LakeReader, LakeSlice, PortError, PortResult, Recount, RecountRow,
};

use super::Held;
use crate::contract::lake_reader::LakeUnderTest;

/// [`LakeReader`] over objects in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryLakeReader {
    state: Held<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What lies in the lake, by arrival partition, in the order of delivery.
    lines: BTreeMap<Hour, Vec<Line>>,
    /// Objects in the error prefix, by arrival partition.
    undelivered: BTreeMap<Hour, u64>,
    recounts: BTreeMap<String, Vec<RecountRow>>,
    /// How many recounts were made.
    recounted: u64,
    /// Which rule of recounting is broken.
    mutation: Mutation,
}

#[derive(Debug)]
enum Line {
    Click(LakeClick),
    Heartbeat(HeartbeatId),
}

impl MemoryLakeReader {
    /// A lake whose recounts break this rule.
    pub fn with_mutation(mutation: Mutation) -> Self {
        Self {
            state: Held::new(State {
                mutation,
                ..State::default()
            }),
        }
    }

    /// Puts an object into an arrival partition: the hour in which the oldest of its records arrived. Lines that are
    /// neither clicks nor heartbeats are passed over.
    pub fn deliver<L: AsRef<[u8]>>(&self, arrival: Hour, lines: impl IntoIterator<Item = L>) {
        let mut state = self.state.lock();
        let lying = state.lines.entry(arrival).or_default();
        for line in lines {
            let line = line.as_ref();
            if let Some(click) = LakeClick::parse(line) {
                lying.push(Line::Click(click));
            } else if let Some(beat) = Heartbeat::parse(line) {
                lying.push(Line::Heartbeat(beat.heartbeat));
            }
        }
    }

    /// Says how many objects of this partition lie in the error prefix.
    pub fn set_undelivered(&self, arrival: Hour, objects: u64) {
        self.state.lock().undelivered.insert(arrival, objects);
    }

    /// Every click that lies in the lake, each once.
    pub fn all_clicks(&self) -> BTreeMap<ClickId, LakeClick> {
        let mut state = self.state.lock();
        state.distinct(&LakeSlice {
            arrivals: Hour(i64::MIN)..Hour(i64::MAX),
            clicked: None,
        })
    }

    /// In which partitions each click and each heartbeat lies, once for each row.
    pub fn places(&self) -> (BTreeMap<ClickId, Vec<Hour>>, BTreeMap<HeartbeatId, Vec<Hour>>) {
        let state = self.state.lock();
        let (mut clicks, mut heartbeats) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for (partition, lines) in &state.lines {
            for line in lines {
                match line {
                    Line::Click(found) => clicks.entry(found.click.click_id).or_default().push(*partition),
                    Line::Heartbeat(id) => heartbeats.entry(*id).or_default().push(*partition),
                }
            }
        }
        (clicks, heartbeats)
    }

    /// How many results of recounts are kept.
    pub fn kept_recounts(&self) -> usize {
        self.state.lock().recounts.len()
    }
}

impl State {
    fn lines(&self, arrivals: &Range<Hour>) -> impl Iterator<Item = (Hour, &Line)> {
        // An empty range may be upside down, which a map's `range` does not take.
        let wanted = |hour: &Hour| arrivals.contains(hour);
        let partitions = self.lines.iter().filter(move |(hour, _)| wanted(hour));
        partitions.flat_map(|(hour, lines)| lines.iter().map(|line| (*hour, line)))
    }

    /// Every row of a click, repeats included, with its partition.
    fn rows(&self, slice: &LakeSlice) -> impl Iterator<Item = (Hour, LakeClick)> {
        let clicked = slice.clicked;
        self.lines(&slice.arrivals)
            .filter_map(move |(arrival, line)| match line {
                Line::Click(found) => {
                    let hour = Hour::of(found.click.clicked_at_ms);
                    clicked
                        .is_none_or(|wanted| wanted == hour)
                        .then_some((arrival, *found))
                }
                Line::Heartbeat(_) => None,
            })
    }

    fn distinct(&mut self, slice: &LakeSlice) -> BTreeMap<ClickId, LakeClick> {
        let mut clicks = BTreeMap::new();
        for (_, found) in self.rows(slice) {
            clicks.entry(found.click.click_id).or_insert(found);
        }
        clicks
    }

    /// The part of the lake that a recount of this hour reads.
    fn recounted(&self, hour: Hour, arrivals: Range<Hour>) -> LakeSlice {
        let own = hour..Hour(hour.0 + 1);
        if self.mutation.is(Broken::RecountByArrival) {
            return LakeSlice {
                arrivals: own,
                clicked: None,
            };
        }
        LakeSlice {
            arrivals: if self.mutation.is(Broken::RecountOwnPartition) {
                own
            } else {
                arrivals
            },
            clicked: Some(hour),
        }
    }

    fn recount(&mut self, hour: Hour, arrivals: Range<Hour>) -> Recount {
        let slice = self.recounted(hour, arrivals);
        let by_impression = self.mutation.is(Broken::RecountDistinctImpressions);
        let mut groups = BTreeMap::<(Entity, Minute), (Counters, u64, u64)>::new();
        let (mut totals, mut seen, mut shown) = (LakeTotals::default(), BTreeSet::new(), BTreeSet::new());
        for (_, found) in self.rows(&slice) {
            let click = found.click;
            let minute = Minute::of(click.clicked_at_ms);
            let mut first = seen.insert(click.click_id) || self.mutation.is(Broken::RecountCountsRows);
            if by_impression {
                let shown_as = click.impression_id.map_or(click.click_id.0, |id| id.0);
                first = shown.insert((shown_as, minute, click.verdict, click.claimed));
            }
            totals.rows += 1;
            totals.clicks += u64::from(first);
            let entities = [
                Some(Entity::Ad(click.ad_id)),
                Some(Entity::Campaign(click.campaign_id)),
                Some(Entity::Advertiser(click.advertiser_id)),
                click.placement_id.map(Entity::Placement),
                Some(Entity::Total),
                click
                    .placement_id
                    .map(|placement| Entity::AdvertiserPlacement(click.advertiser_id, placement)),
            ];
            for entity in entities.into_iter().flatten() {
                let (counters, clicks, rows) = groups.entry((entity, minute)).or_default();
                *rows += 1;
                *clicks += u64::from(first);
                if first && !found.is_unclaimed() {
                    counters.add(CounterKey::of(click.verdict, click.device, click.country), 1);
                }
            }
        }
        let rows = groups
            .into_iter()
            .map(|((entity, minute), (counters, clicks, rows))| RecountRow {
                entity,
                minute,
                counters,
                clicks,
                rows,
            });
        self.recounted += 1;
        let id = format!("recount-{}", self.recounted);
        self.recounts.insert(id.clone(), rows.collect());
        Recount { id, totals }
    }
}

/// The first `limit` of the clicks after `after`.
fn page(
    clicks: BTreeMap<ClickId, LakeClick>,
    after: Option<ClickId>,
    limit: usize,
    wanted: impl Fn(&LakeClick) -> bool,
) -> Vec<LakeClick> {
    let later = clicks.into_iter().filter(|(id, _)| Some(*id) > after);
    let found = later.map(|(_, click)| click).filter(wanted);
    found.take(limit).collect()
}

#[async_trait]
impl LakeReader for MemoryLakeReader {
    async fn heartbeats(&self, arrivals: Range<Hour>) -> PortResult<HashSet<HeartbeatId>> {
        let state = self.state.lock();
        let found = state.lines(&arrivals).filter_map(|(_, line)| match line {
            Line::Heartbeat(id) => Some(*id),
            Line::Click(_) => None,
        });
        Ok(found.collect())
    }

    async fn present(&self, arrivals: Range<Hour>, clicks: &[ClickId]) -> PortResult<HashSet<ClickId>> {
        let slice = LakeSlice {
            arrivals,
            clicked: None,
        };
        let lying = self.state.lock().distinct(&slice);
        let present = clicks.iter().filter(|id| lying.contains_key(id));
        Ok(present.copied().collect())
    }

    async fn undelivered(&self, arrivals: Range<Hour>) -> PortResult<u64> {
        let state = self.state.lock();
        let inside = state
            .undelivered
            .iter()
            .filter(|(hour, _)| arrivals.contains(hour));
        Ok(inside.map(|(_, objects)| objects).sum())
    }

    async fn clicked_hours(&self, arrivals: Range<Hour>) -> PortResult<Vec<ClickedHour>> {
        let slice = LakeSlice {
            arrivals,
            clicked: None,
        };
        let state = self.state.lock();
        let mut hours = BTreeMap::<Hour, (BTreeSet<ClickId>, Hour)>::new();
        for (arrival, LakeClick { click, .. }) in state.rows(&slice) {
            let hour = hours.entry(Hour::of(click.clicked_at_ms));
            let (clicks, last_arrival) = hour.or_insert_with(|| (BTreeSet::new(), arrival));
            clicks.insert(click.click_id);
            *last_arrival = arrival.max(*last_arrival);
        }
        let found = hours
            .into_iter()
            .map(|(hour, (clicks, last_arrival))| ClickedHour {
                hour,
                clicks: clicks.len() as u64,
                last_arrival,
            });
        Ok(found.collect())
    }

    async fn unclaimed(
        &self,
        slice: &LakeSlice,
        after: Option<ClickId>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>> {
        let clicks = self.state.lock().distinct(slice);
        Ok(page(clicks, after, limit, LakeClick::is_unclaimed))
    }

    async fn clicks(&self, slice: &LakeSlice, clicks: &[ClickId]) -> PortResult<Vec<LakeClick>> {
        let lying = self.state.lock().distinct(slice);
        let wanted: BTreeSet<ClickId> = clicks.iter().copied().collect();
        Ok(wanted.iter().filter_map(|id| lying.get(id).copied()).collect())
    }

    async fn orphaned(
        &self,
        slice: &LakeSlice,
        owners: Range<Hour>,
        after: Option<ClickId>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>> {
        let mut state = self.state.lock();
        let owners = state.distinct(&LakeSlice {
            arrivals: owners,
            clicked: None,
        });
        let clicks = state.distinct(slice);
        let orphaned = |found: &LakeClick| {
            found
                .duplicate_of
                .is_some_and(|owner| !owners.contains_key(&owner))
        };
        Ok(page(clicks, after, limit, orphaned))
    }

    async fn recount(&self, hour: Hour, arrivals: Range<Hour>) -> PortResult<Recount> {
        Ok(self.state.lock().recount(hour, arrivals))
    }

    async fn rows(&self, recount: &str, from: u64, limit: usize) -> PortResult<Vec<RecountRow>> {
        let state = self.state.lock();
        let Some(rows) = state.recounts.get(recount) else {
            return Err(PortError::rejected(format!("there is no result {recount:?}")));
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(rows.iter().skip(from).take(limit).cloned().collect())
    }

    async fn forget(&self, recount: &str) -> PortResult<()> {
        self.state.lock().recounts.remove(recount);
        Ok(())
    }
}

#[async_trait]
impl LakeUnderTest for MemoryLakeReader {
    fn reader(&self) -> &dyn LakeReader {
        self
    }

    async fn deliver(&self, arrival: Hour, lines: Vec<Vec<u8>>) {
        MemoryLakeReader::deliver(self, arrival, lines);
    }
}
