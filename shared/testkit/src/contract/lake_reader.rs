//! [`LakeReader`] on lakes as delivery makes them: repeats, objects that straddle hours, heartbeats, lines that are no
//! clicks. What it says is compared with a plain count over the records that were delivered.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use async_trait::async_trait;
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::heartbeat::Heartbeat;
use clickledger_core::domain::ids::{ClickId, HeartbeatId};
use clickledger_core::domain::manifest::LakeTotals;
use clickledger_core::domain::record::{ClickRecord, CountedClick};
use clickledger_core::domain::time::{HOUR_MS, Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{
    ClickedHour, LakeClick, LakeReader, LakeSlice, PortError, PortResult, Recount, RecountRow,
};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::unique;
use crate::fixtures::ClickMaker;

/// A reader, and how an object comes into its lake.
#[async_trait]
pub trait LakeUnderTest: Sync {
    /// The reader.
    fn reader(&self) -> &dyn LakeReader;
    /// Puts an object of these lines, each with its end, into an arrival partition.
    async fn deliver(&self, arrival: Hour, lines: Vec<Vec<u8>>);
}

/// What lies in the lake of a case, in its own three hours and those around them.
struct Truth {
    /// The second of the case's hours: most clicks are of it.
    hour: Hour,
    /// Every row of a click, with its arrival partition.
    rows: Vec<(Hour, ClickRecord)>,
    heartbeats: Vec<(Hour, HeartbeatId)>,
}

impl Truth {
    fn at(&self, n: i64) -> Hour {
        Hour(self.hour.0 + n)
    }

    /// All partitions that hold anything.
    fn all(&self) -> Range<Hour> {
        self.at(-3)..self.at(20)
    }

    /// The clicks of a slice, each once, and how many rows each has.
    fn clicks(&self, slice: &LakeSlice) -> BTreeMap<ClickId, (ClickRecord, u64)> {
        let mut clicks = BTreeMap::<ClickId, (ClickRecord, u64)>::new();
        for (arrival, record) in &self.rows {
            let hour = Hour::of(record.clicked_at_ms);
            if slice.arrivals.contains(arrival) && slice.clicked.is_none_or(|clicked| clicked == hour) {
                let found = clicks.entry(record.click_id).or_insert((record.clone(), 0));
                found.1 += 1;
            }
        }
        clicks
    }

    fn recount(&self, hour: Hour, arrivals: Range<Hour>) -> (LakeTotals, Vec<RecountRow>) {
        let clicks = self.clicks(&LakeSlice {
            arrivals,
            clicked: Some(hour),
        });
        let mut groups = BTreeMap::<(Entity, Minute), (Counters, u64, u64)>::new();
        for (record, rows) in clicks.values() {
            let mut entities = vec![
                Entity::Ad(record.ad_id),
                Entity::Campaign(record.campaign_id),
                Entity::Advertiser(record.advertiser_id),
                Entity::Total,
            ];
            if let Some(placement) = record.placement_id {
                entities.push(Entity::Placement(placement));
                entities.push(Entity::AdvertiserPlacement(record.advertiser_id, placement));
            }
            for entity in entities {
                let group = groups
                    .entry((entity, Minute::of(record.clicked_at_ms)))
                    .or_default();
                if record.claimed || record.verdict != Verdict::Valid {
                    let key = CounterKey::of(record.verdict, record.device, record.country);
                    group.0.add(key, 1);
                }
                group.1 += 1;
                group.2 += rows;
            }
        }
        let totals = LakeTotals {
            rows: clicks.values().map(|(_, rows)| rows).sum(),
            clicks: clicks.len() as u64,
            valid: 0,
        };
        let rows = groups
            .into_iter()
            .map(|((entity, minute), (counters, clicks, rows))| RecountRow {
                entity,
                minute,
                counters,
                clicks,
                rows,
            });
        (totals, rows.collect())
    }
}

fn lake_click(record: &ClickRecord) -> LakeClick {
    LakeClick {
        click: CountedClick::from(record),
        duplicate_of: record.duplicate_of,
    }
}

/// Lines that lie in the lake and count for nothing.
fn other_lines(record: &ClickRecord) -> Vec<Vec<u8>> {
    let line = |record: &ClickRecord| record.to_line().unwrap();
    let later = ClickRecord {
        v: 2,
        ..record.clone()
    };
    let nothing_to_claim = ClickRecord {
        verdict: Verdict::Valid,
        claimed: false,
        impression_id: None,
        ..record.clone()
    };
    vec![
        b"\n".to_vec(),
        b"not JSON\n".to_vec(),
        b"{\"v\":1}\n".to_vec(),
        b"\xff\xfe{}\n".to_vec(),
        line(&later),
        line(&nothing_to_claim),
        b"{\"v\":9,\"heartbeat\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"shard\":\"s\",\"sent_at_ms\":1}\n".to_vec(),
    ]
}

/// Fills a lake: about 1,200 clicks of three hours, most of them of the middle one, in some 40 objects.
async fn filled(lake: &impl LakeUnderTest) -> Truth {
    let hour = Hour(unique::day().first_hour().0 + 5);
    let seed = hour.0.cast_unsigned();
    let mut random = StdRng::seed_from_u64(seed);
    let from_ms = hour.start_ms() - HOUR_MS / 4;
    let mut maker = ClickMaker::new(seed, 12, from_ms, 1_200.0 / (1.5 * HOUR_MS as f64 / 1_000.0));
    let mut records: Vec<ClickRecord> = (0..1_200).map(|_| maker.record()).collect();
    for place in 0..records.len() {
        let owner = records[random.random_range(0..records.len())].click_id;
        let record = &mut records[place];
        match random.random_range(0..10) {
            0 if record.verdict == Verdict::Valid => record.claimed = false,
            1 if record.impression_id.is_some() => record.verdict = Verdict::Duplicate,
            _ => {}
        }
        // Half of the duplicates lost their impression to a click that lies in the lake.
        if record.verdict == Verdict::Duplicate && random.random() {
            record.duplicate_of = Some(owner);
        }
    }
    // Last of all, the hour's outermost milliseconds.
    let outermost = [
        hour.start_ms(),
        hour.start_ms() - 1,
        hour.end_ms() - 1,
        hour.end_ms(),
    ];
    for (record, ms) in records.iter_mut().zip(outermost) {
        record.clicked_at_ms = ms;
    }
    let mut truth = Truth {
        hour,
        rows: Vec::new(),
        heartbeats: Vec::new(),
    };
    for record in records {
        let copies =
            1 + u64::from(random.random_range(0..10) == 0) + u64::from(random.random_range(0..50) == 0);
        for _ in 0..copies {
            let late = [-1, 0, 0, 0, 0, 0, 0, 1, 1, 7][random.random_range(0..10)];
            let arrival = Hour(Hour::of(record.clicked_at_ms).0 + late);
            truth.rows.push((arrival, record.clone()));
        }
    }
    truth.rows.shuffle(&mut random);
    let mut objects = BTreeMap::<(Hour, u32), Vec<Vec<u8>>>::new();
    for (arrival, record) in &truth.rows {
        let object = objects.entry((*arrival, random.random_range(0..5))).or_default();
        object.push(record.to_line().unwrap());
    }
    for ((arrival, _), object) in &mut objects {
        let id = HeartbeatId::new(arrival.start_ms(), random.random());
        let beat = Heartbeat::new(id, &"shardId-000000000003".into(), arrival.start_ms());
        truth.heartbeats.push((*arrival, id));
        object.push(beat.to_line().unwrap());
        object.extend(other_lines(&truth.rows[0].1));
        object.shuffle(&mut random);
    }
    for ((arrival, _), object) in objects {
        lake.deliver(arrival, object).await;
    }
    truth
}

/// All rows of a recount, in pages of this size.
async fn all_rows(lake: &impl LakeUnderTest, recount: &Recount, limit: usize) -> Vec<RecountRow> {
    let mut all = Vec::new();
    loop {
        let page = lake
            .reader()
            .rows(&recount.id, all.len() as u64, limit)
            .await
            .unwrap();
        assert!(page.len() <= limit);
        let full = page.len() == limit;
        all.extend(page);
        if !full {
            return all;
        }
    }
}

/// All pages of what `page` reads after an id.
async fn all_pages<F>(mut page: impl FnMut(Option<ClickId>) -> F, limit: usize) -> Vec<LakeClick>
where
    F: Future<Output = PortResult<Vec<LakeClick>>>,
{
    let mut all = Vec::<LakeClick>::new();
    loop {
        let found = page(all.last().map(|last| last.click.click_id)).await.unwrap();
        assert!(found.len() <= limit);
        let full = found.len() == limit;
        all.extend(found);
        if !full {
            return all;
        }
    }
}

/// One row per click, whatever lies there how often; of this hour and these partitions alone.
pub async fn recount_is_the_count_of_its_clicks(lake: &impl LakeUnderTest) {
    let truth = filled(lake).await;
    for (hour, arrivals) in [
        (0, -1..2),
        (0, -3..20),
        (0, 0..1),
        (0, 1..8),
        (-1, -3..20),
        (1, -3..20),
        (0, 3..3),
        (5, -3..20),
    ] {
        let (hour, arrivals) = (truth.at(hour), truth.at(arrivals.start)..truth.at(arrivals.end));
        let (totals, rows) = truth.recount(hour, arrivals.clone());
        let recount = lake.reader().recount(hour, arrivals.clone()).await.unwrap();
        assert_eq!(recount.totals, totals, "{hour:?} from {arrivals:?}");
        let found = all_rows(lake, &recount, 300).await;
        assert_eq!(found.len(), rows.len());
        for (found, row) in found.iter().zip(&rows) {
            assert_eq!(found, row);
        }
        lake.reader().forget(&recount.id).await.unwrap();
    }
}

/// Pages of every size, begun anywhere.
pub async fn rows_are_read_from_any_place_on(lake: &impl LakeUnderTest) {
    let truth = filled(lake).await;
    let recount = lake.reader().recount(truth.hour, truth.all()).await.unwrap();
    let rows = all_rows(lake, &recount, 100_000).await;
    for limit in [37, rows.len()] {
        assert_eq!(all_rows(lake, &recount, limit).await, rows);
    }
    for from in [0, 1, 255, 256, rows.len() - 1, rows.len(), rows.len() + 5] {
        let found = lake.reader().rows(&recount.id, from as u64, 10).await.unwrap();
        let last = (from + 10).min(rows.len());
        assert_eq!(found, rows[from.min(rows.len())..last]);
    }
    lake.reader().forget(&recount.id).await.unwrap();
}

/// What comes later is in the next recount; a result that was let go is gone.
pub async fn recount_stands_until_it_is_forgotten(lake: &impl LakeUnderTest) {
    let truth = filled(lake).await;
    let arrivals = truth.all();
    let first = lake.reader().recount(truth.hour, arrivals.clone()).await.unwrap();
    let rows = all_rows(lake, &first, 500).await;
    let mut maker = ClickMaker::new(1, 3, truth.hour.start_ms(), 1.0);
    let later = maker.record();
    lake.deliver(truth.at(9), vec![later.to_line().unwrap()]).await;
    assert_eq!(all_rows(lake, &first, 500).await, rows);
    let second = lake.reader().recount(truth.hour, arrivals).await.unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(second.totals.clicks, first.totals.clicks + 1);
    for _ in 0..2 {
        lake.reader().forget(&first.id).await.unwrap();
    }
    for gone in [first.id.as_str(), "", "never", "../lake"] {
        let answer = lake.reader().rows(gone, 0, 10).await;
        assert!(
            matches!(answer, Err(PortError::Rejected(_))),
            "{gone:?}: {answer:?}"
        );
        lake.reader().forget(gone).await.unwrap();
    }
    let total = all_rows(lake, &second, 500).await;
    let mut live = total.iter().filter(|row| row.entity.is_counted_live());
    assert_eq!(live.next_back().unwrap().entity, Entity::Total);
    assert!(!total.last().unwrap().entity.is_counted_live(), "pairs come last");
    lake.reader().forget(&second.id).await.unwrap();
}

/// Of these partitions alone.
pub async fn heartbeats_are_found_in_their_partitions(lake: &impl LakeUnderTest) {
    let truth = filled(lake).await;
    for arrivals in [-3..20, 0..1, 1..8, 2..2, 15..20] {
        let arrivals = truth.at(arrivals.start)..truth.at(arrivals.end);
        let inside = truth
            .heartbeats
            .iter()
            .filter(|(arrival, _)| arrivals.contains(arrival));
        let inside: HashSet<HeartbeatId> = inside.map(|(_, id)| *id).collect();
        assert_eq!(lake.reader().heartbeats(arrivals).await.unwrap(), inside);
    }
}

/// Of these partitions alone; ids that lie nowhere are not there.
pub async fn clicks_are_known_to_be_there(lake: &impl LakeUnderTest) {
    let truth = filled(lake).await;
    for arrivals in [-3..20, 0..1, 7..9, 3..3] {
        let arrivals = truth.at(arrivals.start)..truth.at(arrivals.end);
        let slice = LakeSlice {
            arrivals: arrivals.clone(),
            clicked: None,
        };
        let inside: HashSet<ClickId> = truth.clicks(&slice).into_keys().collect();
        let mut asked: Vec<ClickId> = truth.rows.iter().map(|(_, record)| record.click_id).collect();
        asked.extend((0..5).map(|_| unique::click_id()));
        assert_eq!(
            lake.reader().present(arrivals.clone(), &asked).await.unwrap(),
            inside
        );
        assert_eq!(
            lake.reader().present(arrivals, &[]).await.unwrap(),
            HashSet::new()
        );
    }
}

/// Different clicks by the hour of their click, and how late the last of them arrived.
pub async fn clicked_hours_count_different_clicks(lake: &impl LakeUnderTest) {
    let truth = filled(lake).await;
    for arrivals in [-3..20, 0..1, 1..8, 3..3] {
        let arrivals = truth.at(arrivals.start)..truth.at(arrivals.end);
        let mut hours = BTreeMap::<Hour, (BTreeSet<ClickId>, Hour)>::new();
        for (arrival, record) in truth
            .rows
            .iter()
            .filter(|(arrival, _)| arrivals.contains(arrival))
        {
            let hour = hours.entry(Hour::of(record.clicked_at_ms));
            let (clicks, last) = hour.or_insert((BTreeSet::new(), *arrival));
            clicks.insert(record.click_id);
            *last = arrival.max(last).to_owned();
        }
        let expected: Vec<ClickedHour> = hours
            .into_iter()
            .map(|(hour, (clicks, last_arrival))| ClickedHour {
                hour,
                clicks: clicks.len() as u64,
                last_arrival,
            })
            .collect();
        assert_eq!(lake.reader().clicked_hours(arrivals).await.unwrap(), expected);
    }
}

/// By id, in pages, each once.
pub async fn unclaimed_clicks_are_listed_in_order(lake: &impl LakeUnderTest) {
    let truth = filled(lake).await;
    for clicked in [None, Some(truth.hour), Some(truth.at(5))] {
        let slice = LakeSlice {
            arrivals: truth.at(-1)..truth.at(2),
            clicked,
        };
        let clicks = truth.clicks(&slice).into_values();
        let unclaimed = clicks.filter(|(record, _)| record.verdict == Verdict::Valid && !record.claimed);
        let unclaimed: Vec<LakeClick> = unclaimed.map(|(record, _)| lake_click(&record)).collect();
        assert_eq!(unclaimed.is_empty(), clicked == Some(truth.at(5)));
        for limit in [20, 1_000] {
            let found = all_pages(|after| lake.reader().unclaimed(&slice, after, limit), limit).await;
            assert_eq!(found, unclaimed);
        }
    }
}

/// What comes while pages are read is found, where its id is still to come.
pub async fn unclaimed_clicks_that_come_between_pages_are_found(lake: &impl LakeUnderTest) {
    let truth = filled(lake).await;
    let slice = LakeSlice {
        arrivals: truth.all(),
        clicked: None,
    };
    let page = lake.reader().unclaimed(&slice, None, 10).await.unwrap();
    let mut maker = ClickMaker::new(2, 3, truth.at(1).start_ms(), 1.0);
    let mut late = maker.record();
    while late.impression_id.is_none() {
        late = maker.record();
    }
    (late.verdict, late.claimed, late.duplicate_of) = (Verdict::Valid, false, None);
    lake.deliver(truth.at(9), vec![late.to_line().unwrap()]).await;
    let after = page.last().map(|last| last.click.click_id);
    let rest = lake.reader().unclaimed(&slice, after, 10_000).await.unwrap();
    assert!(rest.contains(&lake_click(&late)));
    assert!(rest.is_sorted_by_key(|found| found.click.click_id));
    assert!(rest.iter().all(|found| Some(found.click.click_id) > after));
}

/// By id, each once, as far as they lie in the slice.
pub async fn clicks_are_read_by_id(lake: &impl LakeUnderTest) {
    let truth = filled(lake).await;
    let mut asked: Vec<ClickId> = truth
        .rows
        .iter()
        .step_by(3)
        .map(|(_, record)| record.click_id)
        .collect();
    asked.push(unique::click_id());
    for clicked in [None, Some(truth.hour)] {
        let slice = LakeSlice {
            arrivals: truth.at(-1)..truth.at(2),
            clicked,
        };
        let mut expected = truth.clicks(&slice);
        expected.retain(|id, _| asked.contains(id));
        let expected: Vec<LakeClick> = expected.values().map(|(record, _)| lake_click(record)).collect();
        assert_eq!(lake.reader().clicks(&slice, &asked).await.unwrap(), expected);
        assert_eq!(lake.reader().clicks(&slice, &[]).await.unwrap(), []);
    }
}

/// Duplicates whose owner lies in none of the partitions where it is looked for; by id, in pages, each once.
pub async fn orphaned_duplicates_are_listed_in_order(lake: &impl LakeUnderTest) {
    let truth = filled(lake).await;
    for (clicked, owners) in [(None, -3..20), (Some(truth.hour), 0..1), (Some(truth.hour), 3..3)] {
        let slice = LakeSlice {
            arrivals: truth.at(-1)..truth.at(2),
            clicked,
        };
        let owners = truth.at(owners.start)..truth.at(owners.end);
        let known = truth.clicks(&LakeSlice {
            arrivals: owners.clone(),
            clicked: None,
        });
        let orphaned: Vec<LakeClick> = truth
            .clicks(&slice)
            .into_values()
            .filter(|(record, _)| {
                record
                    .duplicate_of
                    .is_some_and(|owner| !known.contains_key(&owner))
            })
            .map(|(record, _)| lake_click(&record))
            .collect();
        assert!(!orphaned.is_empty());
        for limit in [7, 1_000] {
            let page = |after| lake.reader().orphaned(&slice, owners.clone(), after, limit);
            assert_eq!(all_pages(page, limit).await, orphaned);
        }
    }
}

/// Where nothing was delivered, nothing is missing either.
pub async fn partitions_without_objects_are_empty(lake: &impl LakeUnderTest) {
    let hour = unique::day().first_hour();
    let arrivals = hour..Hour(hour.0 + 3);
    assert_eq!(lake.reader().undelivered(arrivals.clone()).await.unwrap(), 0);
    assert_eq!(
        lake.reader().heartbeats(arrivals.clone()).await.unwrap(),
        HashSet::new()
    );
    assert_eq!(lake.reader().clicked_hours(arrivals.clone()).await.unwrap(), []);
    let slice = LakeSlice {
        arrivals: arrivals.clone(),
        clicked: Some(hour),
    };
    assert_eq!(lake.reader().unclaimed(&slice, None, 10).await.unwrap(), []);
    assert_eq!(
        lake.reader()
            .orphaned(&slice, arrivals.clone(), None, 10)
            .await
            .unwrap(),
        []
    );
    let recount = lake.reader().recount(hour, arrivals).await.unwrap();
    assert_eq!(recount.totals, LakeTotals::default());
    assert_eq!(lake.reader().rows(&recount.id, 0, 10).await.unwrap(), []);
    lake.reader().forget(&recount.id).await.unwrap();
}

/// Makes a test of every case.
#[macro_export]
macro_rules! lake_reader_contract {
    ($open:path) => {
        $crate::contract_cases!(
            lake_reader as lake_reader,
            $open,
            [
                recount_is_the_count_of_its_clicks,
                rows_are_read_from_any_place_on,
                recount_stands_until_it_is_forgotten,
                heartbeats_are_found_in_their_partitions,
                clicks_are_known_to_be_there,
                clicked_hours_count_different_clicks,
                unclaimed_clicks_are_listed_in_order,
                unclaimed_clicks_that_come_between_pages_are_found,
                clicks_are_read_by_id,
                orphaned_duplicates_are_listed_in_order,
                partitions_without_objects_are_empty,
            ]
        );
    };
}
