//! Sealed days and hours beside live ones: whatever is sealed under whatever versions, the answer is what counting by hand
//! finds, and says rightly what is final.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::by_hand::{Case, brute_rows, brute_totals, case};
use super::*;
use crate::domain::ids::PlacementId;
use crate::domain::manifest::{DayManifest, HourState, Manifest};
use crate::domain::sealed::{SealedDay, SealedHour};
use crate::domain::time::{Day, Hour};
use crate::ports::{Manifests, QuarterTotals, SealedCounts, SealedDayTotals, SealedHourTotals};

/// What is sealed of one ad.
#[derive(Debug, Default, Clone)]
struct Sealed {
    hours: BTreeMap<i64, Manifest>,
    days: BTreeMap<i64, DayManifest>,
    hour_items: BTreeMap<(i64, u64), SealedHour>,
    day_items: BTreeMap<(i64, u64), SealedDay>,
}

/// It, and what is read of it.
#[derive(Default)]
struct SealedStore {
    sealed: Mutex<Sealed>,
    /// What it becomes after the next read of items, one after another.
    becomes: Mutex<Vec<Sealed>>,
    /// Reads of items: whether of days, and how many.
    reads: Mutex<Vec<(bool, i64)>>,
}

impl SealedStore {
    fn of(sealed: Sealed) -> Arc<Self> {
        Arc::new(Self {
            sealed: Mutex::new(sealed),
            ..Self::default()
        })
    }

    /// What is stored when the items are read, which is before anything it becomes afterwards, or after.
    fn items(&self, days: bool, count: i64) -> Sealed {
        self.reads.lock().unwrap().push((days, count));
        let mut becomes = self.becomes.lock().unwrap();
        if !becomes.is_empty() {
            *self.sealed.lock().unwrap() = becomes.remove(0);
        }
        self.sealed.lock().unwrap().clone()
    }
}

fn totals_of(minute: Minute, counters: &Counters) -> MinuteTotals {
    let mut invalid = [0; 9];
    for (key, count) in counters.iter() {
        if let Counted::Invalid(verdict) = key.counted() {
            invalid[verdict as usize] += count;
        }
    }
    MinuteTotals {
        minute,
        valid: counters.valid(),
        invalid,
    }
}

#[async_trait]
impl Manifests for SealedStore {
    async fn hours(&self, from: Hour, to: Hour) -> PortResult<Vec<Manifest>> {
        let sealed = self.sealed.lock().unwrap();
        Ok(sealed
            .hours
            .range(from.0..to.0)
            .map(|(_, manifest)| manifest.clone())
            .collect())
    }
    async fn days(&self, from: Day, to: Day) -> PortResult<Vec<DayManifest>> {
        let sealed = self.sealed.lock().unwrap();
        Ok(sealed
            .days
            .range(from.0..to.0)
            .map(|(_, manifest)| *manifest)
            .collect())
    }
    async fn flip(&self, _: &Manifest) -> PortResult<bool> {
        panic!("a query writes nothing");
    }
    async fn flip_day(&self, _: Day, _: u64, _: u64) -> PortResult<bool> {
        panic!("a query writes nothing");
    }
}

#[async_trait]
impl SealedCounts for SealedStore {
    async fn write_hours(&self, _: Hour, _: u64, _: u32, _: Vec<SealedHour>) -> PortResult<()> {
        panic!("a query writes nothing");
    }
    async fn placements(
        &self,
        _: AdvertiserId,
        _: Hour,
        _: Hour,
        _: Option<PlacementId>,
        _: usize,
    ) -> PortResult<Vec<PlacementId>> {
        panic!("no query of these is broken down by placement");
    }
    async fn entities(&self, _: Hour, _: u64, _: Option<Entity>, _: usize) -> PortResult<Vec<Entity>> {
        panic!("a query asks for one entity");
    }
    async fn read_hours(&self, entity: Entity, from: Hour, to: Hour) -> PortResult<Vec<SealedHour>> {
        let items = self.items(false, to.0 - from.0).hour_items;
        let of = items.range((from.0, 0)..(to.0, 0)).map(|(_, item)| item.clone());
        Ok(of.filter(|item| item.entity == entity).collect())
    }
    async fn read_hour_totals(
        &self,
        entity: Entity,
        from: Hour,
        to: Hour,
    ) -> PortResult<Vec<SealedHourTotals>> {
        let hours = self.read_hours(entity, from, to).await?;
        let totals = |hour: &SealedHour| SealedHourTotals {
            hour: hour.hour,
            version: hour.version,
            minutes: hour
                .minutes
                .iter()
                .map(|(place, counters)| totals_of(hour.minute(*place), counters))
                .collect(),
        };
        Ok(hours.iter().map(totals).collect())
    }
    async fn write_days(&self, _: Vec<SealedDay>) -> PortResult<()> {
        panic!("a query writes nothing");
    }
    async fn read_days(&self, entity: Entity, from: Day, to: Day) -> PortResult<Vec<SealedDay>> {
        let items = self.items(true, to.0 - from.0).day_items;
        let of = items.range((from.0, 0)..(to.0, 0)).map(|(_, item)| item.clone());
        Ok(of.filter(|item| item.entity == entity).collect())
    }
    async fn read_day_totals(&self, entity: Entity, from: Day, to: Day) -> PortResult<Vec<SealedDayTotals>> {
        let days = self.read_days(entity, from, to).await?;
        let totals = |day: &SealedDay| SealedDayTotals {
            day: day.day,
            version: day.version,
            quarters: day
                .quarters
                .iter()
                .map(|quarter| QuarterTotals {
                    totals: totals_of(day.minute(quarter.place), &quarter.counters),
                    peak: quarter.peak,
                })
                .collect(),
        };
        Ok(days.iter().map(totals).collect())
    }
    async fn forget_hours(&self, _: Hour, _: u64, _: &[u64], _: usize) -> PortResult<usize> {
        panic!("a query forgets nothing");
    }
    async fn forget_days(&self, _: Day, _: u64, _: u64, _: usize) -> PortResult<usize> {
        panic!("a query forgets nothing");
    }
}

fn service_of(partials: Arc<Store>, sealed: Arc<SealedStore>, config: MetricsConfig) -> MetricsService {
    let stores = CountStores {
        buckets: partials,
        manifests: sealed.clone(),
        sealed,
    };
    MetricsService::new(stores, Arc::new(FixedClock), config)
}

/// The clicks of one hour, sealed.
fn item(hour: i64, version: u64, clicks: &[Click]) -> SealedHour {
    let mut minutes: BTreeMap<u8, Counters> = BTreeMap::new();
    for click in clicks.iter().filter(|click| click.minute.div_euclid(60) == hour) {
        let key = CounterKey::of(click.verdict, click.device, click.country);
        minutes
            .entry(click.minute.rem_euclid(60) as u8)
            .or_default()
            .add(key, 1);
    }
    SealedHour {
        entity: AD,
        hour: Hour(hour),
        version,
        minutes: minutes.into_iter().collect(),
    }
}

/// Counts that nobody may see.
fn wrong(hour: i64, version: u64) -> SealedHour {
    item(
        hour,
        version,
        &[valid(hour * 60), valid(hour * 60), valid(hour * 60 + 59)],
    )
}

impl Sealed {
    /// Seals an hour under a version. An hour without clicks has no item.
    fn seal(&mut self, hour: i64, version: u64, state: HourState, clicks: &[Click]) {
        let manifest = Manifest {
            state,
            version,
            revision: 1,
            ..Manifest::open(Hour(hour))
        };
        self.hours.insert(hour, manifest);
        self.store(item(hour, version, clicks));
    }

    fn store(&mut self, item: SealedHour) {
        if !item.minutes.is_empty() {
            self.hour_items.insert((item.hour.0, item.version), item);
        }
    }

    /// Stores a day out of its hours' items, and makes it the one that readers see if it is `shown`.
    fn store_day(&mut self, day: i64, version: u64, shown: bool) {
        let hours: Vec<SealedHour> = Day(day)
            .hours()
            .filter_map(|hour| {
                self.hour_items
                    .get(&(hour.0, self.hours.get(&hour.0)?.version))
                    .cloned()
            })
            .collect();
        let item = SealedDay::of_hours(AD, Day(day), version, &hours);
        self.day_items.extend(item.map(|item| ((day, version), item)));
        let manifest = DayManifest {
            day: Day(day),
            version: if shown { version } else { 0 },
            generation: 25,
        };
        self.days.insert(day, manifest);
    }
}

/// A random number that depends on these two alone.
fn mix(seed: u64, place: i64) -> u64 {
    let mut z = seed ^ place.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A world in which some days and hours are sealed, in all the ways that they can be; and the partials, which are right
/// only where they count. Answers also what is to be said of each hour.
fn mixed(
    seed: u64,
    hours: std::ops::Range<i64>,
    clicks: &[Click],
) -> (Store, Sealed, BTreeMap<i64, CountState>) {
    let mut sealed = Sealed::default();
    let mut states = BTreeMap::new();
    let mut partials = store_of(clicks);
    for hour in hours.clone() {
        let day = hour.div_euclid(24);
        let die = match mix(seed, day) % 5 {
            // Days of one kind, and mixed ones.
            0 | 1 => 0,
            2 => 5,
            _ => mix(seed, 1_000_000 + hour) % 9,
        };
        let version = 3 + mix(seed, hour) % 4;
        let state = match die {
            0..=2 => CountState::Sealed,
            3 => CountState::Closed,
            4 => CountState::Dirty,
            5 => CountState::Open,
            6 | 7 => CountState::Disputed,
            _ => CountState::Dirty,
        };
        states.insert(hour, state);
        if die == 5 {
            continue;
        }
        let hour_state = match state {
            CountState::Closed => HourState::Closed,
            CountState::Disputed => HourState::Disputed,
            _ if die == 8 => HourState::Open,
            _ => HourState::Sealed,
        };
        let is_sealed = die < 7;
        sealed.seal(hour, if is_sealed { version } else { 0 }, hour_state, clicks);
        sealed.hour_items.remove(&(hour, 0));
        if let Some(manifest) = sealed.hours.get_mut(&hour) {
            manifest.marks = u64::from(state == CountState::Dirty);
        }
        // What a run wrote and did not flip, or flipped before; and a closed hour's adjustment.
        sealed.store(wrong(hour, version - 1));
        sealed.store(wrong(hour, version + 1));
        if state == CountState::Closed {
            sealed.hours.get_mut(&hour).unwrap().adjusted = version + 1;
        }
        if is_sealed {
            // What live counting found is no longer asked.
            partials
                .buckets
                .retain(|(_, minute), _| minute.div_euclid(60) != hour);
            let key = CounterKey::of(Verdict::Valid, Device::Tv, Country::ZZ);
            partials
                .buckets
                .entry((AD, hour * 60 + 7))
                .or_default()
                .add(key, 9);
        }
    }
    for day in hours.start.div_euclid(24)..hours.end.div_euclid(24) {
        let all = |found: &[CountState]| {
            Day(day)
                .hours()
                .all(|hour| states.get(&hour.0).is_some_and(|state| found.contains(state)))
        };
        if !all(&[CountState::Sealed, CountState::Closed]) {
            continue;
        }
        // Sealed; sealed once, but then an hour's version changed; never sealed.
        match mix(seed, 2_000_000 + day) % 4 {
            0 | 1 => {
                sealed.store_day(day, 9, true);
                Day(day).hours().for_each(|hour| {
                    states.insert(hour.0, CountState::Sealed);
                });
            }
            2 => {
                let mut other = sealed.clone();
                for hour in Day(day).hours() {
                    other.hour_items.insert((hour.0, 77), wrong(hour.0, 77));
                    other.hours.get_mut(&hour.0).unwrap().version = 77;
                }
                other.store_day(day, 9, false);
                sealed.days = other.days;
                sealed.day_items = other.day_items;
            }
            _ => {}
        }
    }
    (partials, sealed, states)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn sealed_and_live_counts_together_are_what_counting_by_hand_finds(case in case(), seed: u64) {
        let Case { query, window, clicks, limits } = case;
        let (from, to) = (query.from_ms / 60_000, query.to_ms / 60_000);
        let lead = (window.unwrap_or(1) as i64 + 1) * 1440 + 3 * 1440;
        let (partials, sealed, states) = mixed(seed, (from - lead).div_euclid(60)..to.div_euclid(60) + 30, &clicks);
        let service = service_of(Arc::new(partials), SealedStore::of(sealed), MetricsConfig::default());
        // A day's item answers for its hours, where it can be used.
        let hour_states = |minutes: std::ops::Range<i64>| -> BTreeSet<CountState> {
            (minutes.start.div_euclid(60)..=(minutes.end - 1).div_euclid(60)).map(|hour| states[&hour]).collect()
        };
        let proved = |minutes: std::ops::Range<i64>| hour_states(minutes).iter().all(|state| state.is_final());

        let page = run(&service, &query).unwrap();
        let expected = brute_rows(&query, window, &clicks, &proved);
        prop_assert_eq!(&page.rows, &expected);
        let (valid, invalid, peak) = brute_totals(&query, &clicks);
        prop_assert_eq!(page.totals.clicks, Some(valid));
        let expected_invalid = (!query.filter.is_set()).then_some(InvalidByVerdict(invalid));
        prop_assert_eq!(page.totals.invalid_by_verdict, expected_invalid);
        let found = page.totals.peak_minute.unwrap().map(|peak| (peak.start.unix_ms / 60_000, peak.clicks));
        prop_assert_eq!(found, peak);
        prop_assert_eq!(joined(&service, &query, &limits), expected);

        let until = (from..to).find(|minute| !states[&minute.div_euclid(60)].is_final()).unwrap_or(to);
        let until = (until > from).then(|| LocalTime::utc(until * 60_000));
        prop_assert_eq!(page.meta.final_until, until);
        let found = hour_states(from..to);
        let state = match (proved(from..to), found.iter().any(|state| state.is_final())) {
            (true, _) => MetricsState::Final,
            (_, true) => MetricsState::Mixed,
            (_, false) => MetricsState::Live,
        };
        prop_assert_eq!(page.meta.state, state);
        // Closed hours of a sealed day may be named as what they are, where the day's item cannot be used.
        let worth = |states: &mut dyn Iterator<Item = CountState>| -> BTreeSet<CountState> {
            states.map(|state| if state == CountState::Closed { CountState::Sealed } else { state }).collect()
        };
        prop_assert_eq!(worth(&mut page.meta.states.iter().copied()), worth(&mut found.into_iter()));
    }
}

const HOUR: i64 = 490_896; // 2026-01-01T00:00:00Z

fn hours(count: i64, zone: &str) -> MetricsQuery {
    MetricsQuery {
        from_ms: HOUR * 3_600_000,
        to_ms: (HOUR + count) * 3_600_000,
        ..query(
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z",
            Granularity::Hour,
            zone,
        )
    }
}

#[test]
fn a_sealed_hour_without_an_item_has_no_clicks_whatever_was_counted_live() {
    let mut sealed = Sealed::default();
    sealed.seal(HOUR, 4, HourState::Sealed, &[]);
    sealed.store(wrong(HOUR, 3));
    let partials = store_of(&[valid(HOUR * 60), valid(HOUR * 60 + 60)]);
    let service = service_of(
        Arc::new(partials),
        SealedStore::of(sealed),
        MetricsConfig::default(),
    );
    let page = run(&service, &hours(2, "UTC")).unwrap();
    assert_eq!(clicks_of(&page), [0, 1]);
    let finals: Vec<bool> = page.rows.iter().map(|row| row.r#final).collect();
    assert_eq!(finals, [true, false]);
    let meta = serde_json::to_value(&page.meta).unwrap();
    assert_eq!(
        meta,
        serde_json::json!({"final_until": "2026-01-01T01:00:00Z", "as_of": "2026-01-02T00:02:01Z", "state": "mixed",
                           "states": ["open", "sealed"], "next_cursor": null})
    );
}

#[test]
fn a_closed_hours_adjustment_does_not_change_its_count() {
    let mut sealed = Sealed::default();
    sealed.seal(HOUR, 4, HourState::Closed, &[valid(HOUR * 60)]);
    sealed.store(wrong(HOUR, 5));
    let manifest = sealed.hours.get_mut(&HOUR).unwrap();
    (manifest.adjusted, manifest.marks) = (5, 1);
    let service = service_of(Arc::default(), SealedStore::of(sealed), MetricsConfig::default());
    let page = run(&service, &hours(1, "UTC")).unwrap();
    assert_eq!((clicks_of(&page), page.rows[0].r#final), (vec![1], true));
    assert_eq!(
        (page.meta.state, page.meta.states),
        (MetricsState::Final, vec![CountState::Closed])
    );
}

#[test]
fn a_day_that_was_set_aside_is_read_by_its_hours() {
    let clicks = [valid(HOUR * 60), valid(HOUR * 60 + 700)];
    let mut sealed = Sealed::default();
    (0..24).for_each(|hour| sealed.seal(HOUR + hour, 4, HourState::Sealed, &[valid(HOUR * 60)]));
    sealed.store_day(HOUR / 24, 6, false);
    (0..24).for_each(|hour| sealed.seal(HOUR + hour, 5, HourState::Sealed, &clicks));
    let store = SealedStore::of(sealed.clone());
    let service = service_of(Arc::default(), Arc::clone(&store), MetricsConfig::default());
    let mut asked = hours(24, "UTC");
    asked.granularity = Granularity::Day;
    assert_eq!(clicks_of(&run(&service, &asked).unwrap()), [2]);
    assert_eq!(std::mem::take(&mut *store.reads.lock().unwrap()), [(false, 24)]);

    sealed.store_day(HOUR / 24, 7, true);
    *store.sealed.lock().unwrap() = sealed;
    assert_eq!(clicks_of(&run(&service, &asked).unwrap()), [2]);
    assert_eq!(*store.reads.lock().unwrap(), [(true, 1)]);
}

#[test]
fn a_sealed_year_is_one_read_of_days_in_every_zone_and_minutes_are_read_from_hours() {
    let mut sealed = Sealed::default();
    let first = HOUR / 24 - 365;
    for day in first - 1..HOUR / 24 + 1 {
        let clicks = [valid(day * 1440 + 17), valid(day * 1440 + 1430)];
        Day(day)
            .hours()
            .for_each(|hour| sealed.seal(hour.0, 4, HourState::Sealed, &clicks));
        sealed.store_day(day, 5, true);
    }
    for (zone, from, to) in [
        ("UTC", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        (
            "Asia/Kolkata",
            "2025-01-01T00:00:00+05:30",
            "2026-01-01T00:00:00+05:30",
        ),
        (
            "America/New_York",
            "2025-01-01T00:00:00-05:00",
            "2026-01-01T00:00:00-05:00",
        ),
        (
            "Australia/Lord_Howe",
            "2025-01-01T00:00:00+11:00",
            "2026-01-01T00:00:00+11:00",
        ),
    ] {
        let store = SealedStore::of(sealed.clone());
        let service = service_of(Arc::default(), Arc::clone(&store), MetricsConfig::default());
        for group_by in [GroupBy::None, GroupBy::Verdict] {
            let page = run(
                &service,
                &MetricsQuery {
                    group_by,
                    ..query(from, to, Granularity::Day, zone)
                },
            )
            .unwrap();
            let days = std::mem::take(&mut *store.reads.lock().unwrap());
            assert_eq!(days, [(true, if zone == "UTC" { 365 } else { 366 })], "{zone}");
            assert_eq!(page.totals.clicks, Some(730));
            assert_eq!(page.meta.state, MetricsState::Final);
            assert!(page.rows.iter().all(|row| row.r#final));
        }
    }
    let store = SealedStore::of(sealed);
    let service = service_of(Arc::default(), Arc::clone(&store), MetricsConfig::default());
    let by_minute = query(
        "2025-03-01T00:00:00Z",
        "2025-04-01T00:00:00Z",
        Granularity::Minute,
        "UTC",
    );
    assert_eq!(run(&service, &by_minute).unwrap().totals.clicks, Some(62));
    assert_eq!(*store.reads.lock().unwrap(), [(false, 31 * 24)]);
}

#[test]
fn an_unsealed_hour_whose_partials_have_expired_is_unknown_and_not_zero() {
    let mut sealed = Sealed::default();
    sealed.seal(HOUR + 1, 4, HourState::Sealed, &[valid(HOUR * 60 + 61)]);
    sealed.hours.insert(
        HOUR + 2,
        Manifest {
            state: HourState::Disputed,
            marks: 1,
            ..Manifest::open(Hour(HOUR + 2))
        },
    );
    // Partials of an hour of which some have expired already count as little as none.
    let partials = Arc::new(store_of(&[
        valid(HOUR * 60 + 59),
        valid(HOUR * 60 + 190),
        valid(HOUR * 60 + 191),
    ]));
    let life_ms = NOW_MS - (HOUR + 3) * 3_600_000;
    let config = MetricsConfig {
        partials_life_ms: Some(life_ms),
        ..MetricsConfig::default()
    };
    let service = service_of(partials, SealedStore::of(sealed), config);
    let mut asked = hours(4, "UTC");
    let page = run(&service, &asked).unwrap();
    let rows: Vec<(Option<u64>, bool)> = page.rows.iter().map(|row| (row.clicks, row.r#final)).collect();
    assert_eq!(
        rows,
        [(None, false), (Some(1), true), (None, false), (Some(2), false)]
    );
    assert_eq!(
        serde_json::to_value(page.rows[0]).unwrap(),
        serde_json::json!({"start": "2026-01-01T00:00:00Z", "clicks": null, "final": false})
    );
    assert_eq!(page.meta.state, MetricsState::Incomplete);
    assert_eq!(
        page.meta.states,
        [CountState::Open, CountState::Sealed, CountState::Incomplete]
    );
    assert_eq!((page.totals.clicks, page.meta.final_until), (Some(3), None));
    let mut csv = String::new();
    write_csv(&page, false, &mut csv).unwrap();
    assert!(
        csv.starts_with("2026-01-01T00:00:00Z,,,,,,,,,,,,false\n2026-01-01T01:00:00Z,1,1,0,"),
        "{csv}"
    );

    asked.window = Some("2h".parse().unwrap());
    let rows = run(&service, &asked).unwrap().rows;
    let rows: Vec<Option<u64>> = rows.iter().map(|row| row.clicks).collect();
    assert_eq!(rows, [None; 4], "each window holds an hour that nobody knows");
    asked.group_by = GroupBy::Verdict;
    asked.window = None;
    asked.granularity = Granularity::Day;
    let rows = run(&service, &asked).unwrap().rows;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].verdict, rows[0].clicks), (Some(Verdict::Valid), None));
}

#[test]
fn a_version_that_is_forgotten_while_it_is_read_is_not_taken_for_no_clicks() {
    let under = |version: u64, clicks: usize| {
        let mut sealed = Sealed::default();
        sealed.seal(HOUR, version, HourState::Sealed, &vec![valid(HOUR * 60); clicks]);
        sealed
    };
    for group_by in [GroupBy::None, GroupBy::Device] {
        let asked = MetricsQuery {
            group_by,
            ..hours(1, "UTC")
        };
        // Between the manifests and the items the hour is sealed anew, and the version before is forgotten.
        let store = SealedStore::of(under(4, 2));
        *store.becomes.lock().unwrap() = vec![under(5, 3)];
        let service = service_of(Arc::default(), Arc::clone(&store), MetricsConfig::default());
        assert_eq!(clicks_of(&run(&service, &asked).unwrap()), [3]);
        assert_eq!(store.reads.lock().unwrap().len(), 2);

        *store.becomes.lock().unwrap() = (6..20).map(|version| under(version, 3)).collect();
        match run(&service, &asked) {
            Err(QueryError::Store(error)) => assert!(error.is_retryable()),
            other => panic!("{other:?}"),
        }
    }
}

fn freshness(service: &MetricsService, query: &MetricsQuery) -> Freshness {
    let prepared = service.prepare(query).now_or_never().unwrap().unwrap();
    let before = prepared.freshness();
    let (_, after) = service.answer(prepared).now_or_never().unwrap().unwrap();
    assert_eq!(before, after);
    after
}

#[test]
fn sealed_counts_have_a_tag_of_the_query_and_every_version_and_live_ones_have_none() {
    let clicks = [valid(HOUR * 60)];
    let sealed = |versions: [u64; 2], state| {
        let mut sealed = Sealed::default();
        for (hour, version) in (HOUR..).zip(versions) {
            sealed.seal(hour, version, state, &clicks);
        }
        service_of(Arc::default(), SealedStore::of(sealed), MetricsConfig::default())
    };
    let service = sealed([4, 4], HourState::Sealed);
    let asked = hours(2, "UTC");
    let fresh = freshness(&service, &asked);
    let Freshness::Sealed(tag) = &fresh else {
        panic!("{fresh:?}")
    };
    assert_eq!(
        freshness(&sealed([4, 4], HourState::Sealed), &asked).tag(),
        Some(&**tag)
    );
    for versions in [[5, 4], [4, 5]] {
        assert_ne!(
            freshness(&sealed(versions, HourState::Sealed), &asked).tag(),
            Some(&**tag)
        );
    }
    for other in [
        hours(1, "UTC"),
        hours(2, "Asia/Kolkata"),
        MetricsQuery {
            limit: Some(1),
            ..asked.clone()
        },
        MetricsQuery {
            group_by: GroupBy::Device,
            ..asked.clone()
        },
        MetricsQuery {
            metrics: "clicks".parse().ok(),
            ..asked.clone()
        },
    ] {
        let other = freshness(&service, &other);
        assert!(other.tag().is_some_and(|other| other != tag), "{other:?}");
    }
    assert!(matches!(
        freshness(&sealed([4, 4], HourState::Closed), &asked),
        Freshness::Closed(_)
    ));
    for (state, count) in [(HourState::Sealed, 3), (HourState::Disputed, 2)] {
        let live = freshness(&sealed([4, 4], state), &hours(count, "UTC"));
        assert_eq!(live, Freshness::Live, "{state:?}");
    }
    // The range beside it counts too, and what a window reaches back to.
    let beside = MetricsQuery {
        from_ms: (HOUR + 1) * 3_600_000,
        compare: Some(Compare::PreviousPeriod),
        ..asked.clone()
    };
    let tag = freshness(&service, &beside);
    assert!(matches!(tag, Freshness::Sealed(_)), "{tag:?}");
    assert_ne!(freshness(&sealed([5, 4], HourState::Sealed), &beside), tag);
    let window = MetricsQuery {
        window: "3h".parse().ok(),
        ..asked
    };
    assert_eq!(freshness(&service, &window), Freshness::Live);
}

#[test]
fn a_tag_is_of_the_versions_that_were_read() {
    let under = |version| {
        let mut sealed = Sealed::default();
        sealed.seal(HOUR, version, HourState::Sealed, &[valid(HOUR * 60)]);
        sealed
    };
    let service = |store| service_of(Arc::default(), store, MetricsConfig::default());
    let store = SealedStore::of(under(4));
    *store.becomes.lock().unwrap() = vec![under(5)];
    let asked = hours(1, "UTC");
    let overtaken = service(store);
    let prepared = overtaken.prepare(&asked).now_or_never().unwrap().unwrap();
    let before = prepared.freshness();
    let (_, after) = overtaken.answer(prepared).now_or_never().unwrap().unwrap();
    assert_ne!(before, after);
    assert_eq!(after, freshness(&service(SealedStore::of(under(5))), &asked));
}

#[test]
fn a_filtered_peak_is_looked_for_in_hours_and_filtered_clicks_alone_in_days() {
    let mobile = |minute| Click {
        device: Device::Mobile,
        ..valid(minute)
    };
    let tablet = |minute| Click {
        device: Device::Tablet,
        ..valid(minute)
    };
    // Most clicks are in another minute than most of the mobile ones.
    let at = HOUR * 60;
    let clicks = [
        tablet(at),
        tablet(at),
        tablet(at),
        mobile(at + 1),
        mobile(at + 2),
        mobile(at + 2),
    ];
    let mut sealed = Sealed::default();
    (0..24).for_each(|hour| sealed.seal(HOUR + hour, 4, HourState::Sealed, &clicks));
    sealed.store_day(HOUR / 24, 5, true);
    let store = SealedStore::of(sealed);
    let service = service_of(Arc::default(), Arc::clone(&store), MetricsConfig::default());
    let mut asked = hours(24, "UTC");
    asked.filter.devices = "mobile".parse().ok();
    let totals = run(&service, &asked).unwrap().totals;
    let peak = totals.peak_minute.unwrap().unwrap();
    assert_eq!(
        (totals.clicks, peak.start.unix_ms / 60_000, peak.clicks),
        (Some(3), at + 2, 2)
    );
    assert_eq!(std::mem::take(&mut *store.reads.lock().unwrap()), [(false, 24)]);
    asked.metrics = "clicks".parse().ok();
    let totals = run(&service, &asked).unwrap().totals;
    assert_eq!((totals.clicks, totals.peak_minute), (Some(3), None));
    assert_eq!(*store.reads.lock().unwrap(), [(true, 1)]);
}
