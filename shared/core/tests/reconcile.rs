//! Reconcile over stores in memory: what single runs do to one hour. (Schedules of runs are the simulation's.)

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use clickledger_core::domain::bucket::{Condition, PartialWrite, ShardId};
use clickledger_core::domain::correction::{Cause, Correction, HourReport, Outcome};
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, ClickId, ImpressionId, PlacementId};
use clickledger_core::domain::manifest::{HourState, Manifest};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::record::{ClickRecord, RECORD_VERSION};
use clickledger_core::domain::ruling::{Ruling, RulingKind};
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{HOUR_MS, Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::metric_names::{DAILY_AGE, DISPUTED, SEAL_AGE};
use clickledger_core::ports::{
    BucketStore, Claim, ClaimStore, Clock, Job, LakeReader, Leases, Manifests, PortResult, RawLake, Rulings,
    SealReports, SealStore, SealedCounts, StreamRecord,
};
use clickledger_core::service::pump::{Consumer, LakeDelivery};
use clickledger_core::service::reconcile::{
    LakeProof, Reconcile, ReconcileConfig, ReconcilePorts, Restatement,
};
use clickledger_testkit::memory::{
    MemoryBuckets, MemoryCatalog, MemoryClaims, MemoryLakeReader, MemorySeals,
};
use clickledger_testkit::sim_rng::SimRng;
use clickledger_testkit::virtual_time::VirtualTime;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use serde_json::json;

/// 2026-01-02T00:00:00Z.
const HOUR: Hour = Hour(1_767_312_000_000 / HOUR_MS);

#[derive(Default)]
struct Complete(AtomicBool);

#[async_trait]
impl LakeProof for Complete {
    async fn missing(&self, _from_ms: i64, _to_ms: i64) -> PortResult<Option<String>> {
        Ok((!self.0.load(Ordering::Relaxed)).then(|| "a heartbeat is missing".to_owned()))
    }
}

struct World {
    time: VirtualTime,
    lake: MemoryLakeReader,
    claims: MemoryClaims,
    buckets: MemoryBuckets,
    seals: MemorySeals,
    complete: Arc<Complete>,
    reconcile: Reconcile,
}

/// Another run makes these rulings when an hour's were read for the first time.
struct Meanwhile {
    seals: MemorySeals,
    rulings: Mutex<Vec<Ruling>>,
}

#[async_trait]
impl Rulings for Meanwhile {
    async fn rule(&self, ruling: Ruling) -> PortResult<Ruling> {
        self.seals.rule(ruling).await
    }

    async fn of_hour(
        &self,
        hour: Hour,
        after: Option<(ClickId, RulingKind)>,
        limit: usize,
    ) -> PortResult<Vec<Ruling>> {
        let found = self.seals.of_hour(hour, after, limit).await?;
        let rulings = std::mem::take(&mut *self.rulings.lock().unwrap());
        for ruling in rulings {
            self.seals.rule(ruling).await?;
        }
        Ok(found)
    }
}

impl World {
    fn new(slice_rows: usize) -> Self {
        Self::ruled_by(slice_rows, |seals| Arc::new(seals))
    }

    fn ruled_by(slice_rows: usize, rulings: impl FnOnce(MemorySeals) -> Arc<dyn Rulings>) -> Self {
        let time = VirtualTime::new(HOUR.end_ms() + 7 * 60_000);
        let (lake, claims) = (MemoryLakeReader::default(), MemoryClaims::default());
        let (buckets, seals) = (MemoryBuckets::default(), MemorySeals::default());
        let complete = Arc::new(Complete(AtomicBool::new(true)));
        let ports = ReconcilePorts {
            lake: Arc::new(lake.clone()),
            proof: complete.clone(),
            claims: Arc::new(claims.clone()),
            buckets: Arc::new(buckets.clone()),
            catalog: Arc::new(MemoryCatalog::default()),
            manifests: Arc::new(seals.clone()),
            leases: Arc::new(seals.clone()),
            rulings: rulings(seals.clone()),
            counts: Arc::new(seals.clone()),
            reports: Arc::new(seals.clone()),
            clock: Arc::new(time.clone()),
            entropy: Arc::new(SimRng::new(1)),
        };
        let config = ReconcileConfig {
            slice_rows,
            ..ReconcileConfig::default()
        };
        Self {
            reconcile: Reconcile::new(ports, config, Mutation::default()),
            time,
            lake,
            claims,
            buckets,
            seals,
            complete,
        }
    }

    fn deliver(&self, arrival: Hour, clicks: &[ClickRecord]) {
        self.lake
            .deliver(arrival, clicks.iter().map(|click| click.to_line().unwrap()));
    }

    /// Counts these clicks live, as aggregate does.
    fn count(&self, sequence_number: u64, clicks: &[ClickRecord]) {
        let mut writes: Vec<PartialWrite> = Vec::new();
        for click in clicks {
            let counter = CounterKey::of(click.verdict, click.device, click.country);
            for entity in [
                Entity::Ad(click.ad_id),
                Entity::Campaign(click.campaign_id),
                Entity::Advertiser(click.advertiser_id),
                Entity::Total,
            ] {
                let minute = Minute::of(click.clicked_at_ms);
                let key = BucketKey { entity, minute };
                let found = writes.iter_mut().find(|write| write.key == key);
                let delta = Counters::from_iter([(counter, 1)]);
                match found {
                    Some(write) => write.delta.merge(&delta),
                    None => writes.push(PartialWrite {
                        key,
                        shard: "s".into(),
                        condition: Condition::Below(SequenceNumber::from(sequence_number)),
                        last: SequenceNumber::from(sequence_number),
                        delta,
                    }),
                }
            }
        }
        self.time.block_on(self.buckets.commit(writes));
    }

    /// Counts these clicks live for their placements, as aggregate does.
    fn count_placements(&self, sequence_number: u64, clicks: &[ClickRecord]) {
        let mut deltas: BTreeMap<BucketKey, Counters> = BTreeMap::new();
        for click in clicks {
            let counter = CounterKey::of(click.verdict, click.device, click.country);
            if let Some(placement) = click.placement_id {
                let key = BucketKey {
                    entity: Entity::Placement(placement),
                    minute: Minute::of(click.clicked_at_ms),
                };
                deltas.entry(key).or_default().add(counter, 1);
            }
        }
        let write = |(key, delta)| PartialWrite {
            key,
            shard: "s".into(),
            condition: Condition::Below(SequenceNumber::from(sequence_number)),
            last: SequenceNumber::from(sequence_number),
            delta,
        };
        let writes = deltas.into_iter().map(write).collect();
        self.time.block_on(self.buckets.commit(writes));
    }

    fn hourly(&self) -> Vec<HourReport> {
        self.time.block_on(self.reconcile.hourly()).unwrap()
    }

    /// The hourly report on our hour; the others of its day are empty.
    fn sealed(&self) -> HourReport {
        let mut reports = self.hourly();
        reports.retain(|report| report.hour == HOUR);
        reports.pop().unwrap()
    }

    fn daily(&self) -> Vec<HourReport> {
        let run = self.time.block_on(self.reconcile.daily()).unwrap();
        assert!(run.done, "{}", run.detail);
        run.reports
    }

    fn manifest(&self) -> Manifest {
        let found = self.time.block_on(self.seals.hours(HOUR, Hour(HOUR.0 + 1)));
        found.unwrap().pop().unwrap()
    }

    /// What readers see of an entity: gross and valid.
    fn seen(&self, entity: Entity) -> (u64, u64) {
        self.seen_in(HOUR, entity)
    }

    fn seen_in(&self, hour: Hour, entity: Entity) -> (u64, u64) {
        let next = Hour(hour.0 + 1);
        let manifest = self.time.block_on(self.seals.hours(hour, next)).unwrap().pop();
        let version = manifest.unwrap().version;
        let items = self.time.block_on(self.seals.read_hours(entity, hour, next));
        let item = items.unwrap().into_iter().find(|item| item.version == version);
        let minutes = item.map(|item| item.minutes).unwrap_or_default();
        minutes.iter().fold((0, 0), |(gross, valid), (_, counters)| {
            (gross + counters.gross(), valid + counters.valid())
        })
    }
}

fn click(n: u8, minute: i64, ad: u64) -> ClickRecord {
    let clicked_at_ms = HOUR.start_ms() + minute * 60_000 + i64::from(n);
    ClickRecord {
        v: RECORD_VERSION,
        click_id: ClickId::new(clicked_at_ms, [n; 10]),
        impression_id: Some(ImpressionId::new(clicked_at_ms - 1000, [n; 10])),
        ad_id: AdId(ad),
        campaign_id: CampaignId(10 + ad % 2),
        advertiser_id: AdvertiserId(20),
        placement_id: None,
        clicked_at_ms,
        verdict: Verdict::Valid,
        duplicate_of: None,
        claimed: true,
        partition_key: format!("{ad}#0"),
        device: Device::Mobile,
        country: Country::ZZ,
        network: None,
        client_hash: None,
        agent_hash: None,
        dwell_ms: None,
        referrer_host: None,
    }
}

fn duplicate(n: u8, minute: i64, of: &ClickRecord) -> ClickRecord {
    let own = click(n, minute, of.ad_id.0);
    ClickRecord {
        impression_id: of.impression_id,
        verdict: Verdict::Duplicate,
        duplicate_of: Some(of.click_id),
        ..own
    }
}

#[test]
fn what_live_counting_lost_is_corrected_and_a_second_run_changes_nothing() {
    for slice_rows in [61, 10_000] {
        let world = World::new(slice_rows);
        let clicks: Vec<_> = (0..200_u8)
            .map(|n| click(n, i64::from(n % 60), u64::from(n % 7) + 1))
            .collect();
        world.deliver(HOUR, &clicks);
        world.deliver(HOUR, &clicks[..3]);
        world.count(1, &clicks[5..]);
        let report = world.sealed();
        assert_eq!(
            (report.outcome, report.lake.clicks, report.lake.rows),
            (Outcome::Sealed, 200, 203)
        );
        assert_eq!((report.counted, report.difference()), (195, 5));
        assert_eq!(world.seen(Entity::Total), (200, 200));
        assert_eq!(world.seen(Entity::Ad(AdId(1))), (29, 29));
        let corrections = world
            .time
            .block_on(world.seals.corrections(HOUR, None, 100))
            .unwrap();
        assert_eq!(corrections.len(), 20, "5 clicks in 5 minutes of 4 entities each");
        assert!(
            corrections
                .iter()
                .all(|it| it.cause == Cause::LostInStream && !it.adjustment)
        );
        assert_eq!(report.corrections, 20);

        let before = world.manifest();
        assert!(world.hourly().is_empty());
        world.daily();
        assert_eq!(world.manifest().version, before.version);
        assert_eq!(world.lake.kept_recounts(), 0);
    }
}

#[test]
fn an_hour_is_not_sealed_from_a_lake_that_is_not_proved() {
    let world = World::new(10_000);
    world.deliver(HOUR, &[click(1, 5, 1)]);
    world.complete.0.store(false, Ordering::Relaxed);
    assert!(
        world.hourly().is_empty(),
        "nobody knows yet where the counting began"
    );
    world.time.block_on(world.seals.mark_dirty(&[HOUR])).unwrap();
    world.complete.0.store(true, Ordering::Relaxed);
    world.hourly();
    let sealed = world.manifest();
    assert_eq!(sealed.state, HourState::Sealed);
    assert!(!sealed.is_dirty());

    let next = Hour(HOUR.0 + 1);
    world.time.run_until(next.end_ms() + 7 * 60_000);
    world.complete.0.store(false, Ordering::Relaxed);
    let reports = world.hourly();
    assert_eq!((reports[0].hour, reports[0].outcome), (next, Outcome::Waiting));
    assert_eq!(reports[0].detail, "a heartbeat is missing");
    world.time.run_until(next.end_ms() + 9 * 60_000);
    world.hourly();
    let kept = world
        .time
        .block_on(world.seals.reports(next, Hour(next.0 + 1), None, 9));
    assert_eq!(kept.unwrap().len(), 1, "nothing has changed in the meantime");
}

#[test]
fn a_lower_count_than_the_lake_explains_is_disputed_until_a_person_accepts_it() {
    let world = World::new(10_000);
    let clicks: Vec<_> = (1..5).map(|n| click(n, 5, 1)).collect();
    world.deliver(HOUR, &clicks);
    world.deliver(HOUR, &clicks[..1]);
    world.count(1, &clicks);
    world.count(2, &clicks[..1]);
    let report = world.sealed();
    assert_eq!(
        report.outcome,
        Outcome::Sealed,
        "the repeat in the lake explains it"
    );
    assert_eq!(world.seen(Entity::Total), (4, 4));

    let world = World::new(10_000);
    world.deliver(HOUR, &clicks[..3]);
    world.count(1, &clicks);
    let report = world.sealed();
    assert_eq!(
        (report.outcome, report.state),
        (Outcome::Disputed, HourState::Disputed)
    );
    assert_eq!(world.manifest().version, 0);
    let restatement = Restatement {
        from: HOUR,
        to: Hour(HOUR.0 + 1),
        dry_run: true,
        accept_lowering: false,
        asked_at_ms: None,
    };
    let shown = world
        .time
        .block_on(world.reconcile.restate(&restatement))
        .unwrap();
    assert_eq!((shown[0].outcome, shown[0].difference()), (Outcome::Shown, -1));
    assert_eq!(world.manifest().version, 0);
    let accepted = Restatement {
        dry_run: false,
        accept_lowering: true,
        ..restatement
    };
    let sealed = world.time.block_on(world.reconcile.restate(&accepted)).unwrap();
    assert_eq!(sealed[0].outcome, Outcome::Sealed);
    assert_eq!(world.seen(Entity::Total), (3, 3));
}

#[test]
fn a_duplicate_takes_the_place_of_a_click_that_never_came_for_good() {
    let world = World::new(10_000);
    let orphan = click(1, 5, 1);
    let heirs = [duplicate(2, 6, &orphan), duplicate(3, 7, &orphan)];
    world.deliver(HOUR, &heirs);
    world.count(1, &heirs);
    world.hourly();
    assert_eq!(world.seen(Entity::Total), (2, 0));
    let reports = world.daily();
    assert_eq!(
        reports.iter().filter(|it| it.outcome == Outcome::Sealed).count(),
        1
    );
    assert_eq!(world.seen(Entity::Total), (2, 1));
    let corrections = world
        .time
        .block_on(world.seals.corrections(HOUR, None, 100))
        .unwrap();
    assert!(corrections.iter().all(|it| it.cause == Cause::Promoted));

    world.time.run_until(world.time.now_ms() + 2 * HOUR_MS);
    world.deliver(Hour(HOUR.0 + 2), &[orphan]);
    world.daily();
    assert_eq!(world.seen(Entity::Total), (3, 1), "the orphan has lost its place");
}

#[test]
fn an_unclaimed_click_is_settled_once_and_stays_so_when_claims_have_expired() {
    let world = World::new(10_000);
    let first = click(1, 5, 1);
    let unclaimed = ClickRecord {
        claimed: false,
        verdict: Verdict::Valid,
        duplicate_of: None,
        ..duplicate(2, 6, &first)
    };
    let claim = Claim {
        impression_id: first.impression_id.unwrap(),
        click_id: first.click_id,
        expires_ms: i64::MAX,
    };
    world.time.block_on(world.claims.claim(claim, 0)).unwrap();
    world.deliver(HOUR, &[first, unclaimed]);
    world.hourly();
    assert_eq!(world.seen(Entity::Total), (2, 1));
    world.time.block_on(world.claims.purge(i64::MAX, 100)).unwrap();
    let restatement = Restatement {
        from: HOUR,
        to: Hour(HOUR.0 + 1),
        dry_run: false,
        accept_lowering: false,
        asked_at_ms: None,
    };
    let again = world
        .time
        .block_on(world.reconcile.restate(&restatement))
        .unwrap();
    assert_eq!(again[0].outcome, Outcome::Unchanged);
}

#[test]
fn a_restatement_that_runs_out_of_time_says_what_is_left_and_is_gone_on_with() {
    let world = World::new(10_000);
    for n in 0..3_u8 {
        let clicks = [click(1 + n, 5 + 60 * i64::from(n), 1)];
        world.deliver(Hour(HOUR.0 + i64::from(n)), &clicks);
    }
    world.time.run_until(world.time.now_ms() + 3 * HOUR_MS);
    let asked = Restatement {
        from: HOUR,
        to: Hour(HOUR.0 + 3),
        dry_run: false,
        accept_lowering: false,
        asked_at_ms: None,
    };
    let restate = |restatement: &Restatement, until_ms| {
        let restated = world.reconcile.restate_until(restatement, until_ms);
        world.time.block_on(restated).unwrap()
    };
    // No time at all suffices for one hour, or nothing would ever be done.
    let first = restate(&asked, 0);
    let rest = first.rest.unwrap();
    assert_eq!((first.reports.len(), rest.from), (1, Hour(HOUR.0 + 1)));
    assert_eq!(
        rest,
        Restatement {
            from: rest.from,
            ..asked
        }
    );
    let others = restate(&rest, i64::MAX);
    assert_eq!((others.reports.len(), others.rest), (2, None));
    let of_all = first.reports.iter().chain(&others.reports);
    assert!(of_all.clone().all(|report| report.outcome == Outcome::Sealed));
    assert_eq!(
        of_all.map(|report| report.hour.0 - HOUR.0).collect::<Vec<_>>(),
        [0, 1, 2]
    );
}

#[test]
fn a_day_is_sealed_when_its_hours_are_and_anew_when_one_changes() {
    let world = World::new(10_000);
    world.deliver(HOUR, &[click(1, 5, 1)]);
    world
        .time
        .run_until(HOUR.day().first_hour().start_ms() + 26 * HOUR_MS);
    world.hourly();
    world.daily();
    let days = world.seals.all_days();
    assert_eq!(days[0].day, HOUR.day());
    assert!(days[0].version > 0);
    let quarter = |world: &World| {
        let version = world.seals.all_days()[0].version;
        let items = world.seals.all_sealed_days();
        let found = items
            .iter()
            .find(|it| it.version == version && it.entity == Entity::Total);
        found.unwrap().quarters[0].counters.gross()
    };
    assert_eq!(quarter(&world), 1);

    world.time.run_until(world.time.now_ms() + HOUR_MS);
    world.deliver(Hour(HOUR.0 + 26), &[click(2, 6, 1)]);
    let version = days[0].version;
    world.daily();
    assert_ne!(world.seals.all_days()[0].version, version);
    assert_eq!(quarter(&world), 2);
    assert_eq!(world.manifest().last_arrival, Hour(HOUR.0 + 26));
}

const PAIR: Entity = Entity::AdvertiserPlacement(AdvertiserId(20), PlacementId(5));

/// A click that came by placement 5.
fn placed(n: u8, minute: i64) -> ClickRecord {
    ClickRecord {
        placement_id: Some(PlacementId(5)),
        ..click(n, minute, 1)
    }
}

fn restated(world: &World, dry_run: bool) -> HourReport {
    let order = Restatement {
        from: HOUR,
        to: Hour(HOUR.0 + 1),
        dry_run,
        accept_lowering: false,
        asked_at_ms: None,
    };
    world
        .time
        .block_on(world.reconcile.restate(&order))
        .unwrap()
        .pop()
        .unwrap()
}

fn all_corrections(world: &World) -> Vec<Correction> {
    let found = world.time.block_on(world.seals.corrections(HOUR, None, 1000));
    found.unwrap()
}

/// As if the hour had been sealed before there were pairs.
fn forget_pairs(world: &World) {
    let next = Hour(HOUR.0 + 1);
    let Manifest {
        version, adjusted, ..
    } = world.manifest();
    for version in [version, adjusted].into_iter().filter(|version| *version > 0) {
        let mut items = Vec::new();
        let page = world.seals.entities(HOUR, version, None, 1000);
        for entity in world.time.block_on(page).unwrap() {
            let found = world.time.block_on(world.seals.read_hours(entity, HOUR, next));
            items.extend(found.unwrap());
        }
        items.retain(|item| item.entity.is_counted_live() && item.version == version);
        let write = world.seals.write_hours(HOUR, version, 0, items);
        world.time.block_on(write).unwrap();
    }
    assert_eq!(world.seen(PAIR), (0, 0));
}

#[test]
fn pairs_are_sealed_beside_the_rest_and_are_no_difference_and_no_correction() {
    for slice_rows in [61, 10_000] {
        let world = World::new(slice_rows);
        let clicks = [placed(1, 5), placed(2, 5), click(3, 5, 1), placed(4, 7)];
        world.deliver(HOUR, &clicks);
        // Live counting lost one, and knows of placements too.
        world.count(1, &clicks[..3]);
        world.count_placements(1, &clicks[..3]);
        let report = world.sealed();
        assert_eq!(report.outcome, Outcome::Sealed, "{report:?}");
        assert_eq!(world.seen(PAIR), (3, 3));
        assert_eq!(world.seen(Entity::Placement(PlacementId(5))), (3, 3));
        assert_eq!(world.seen(Entity::Advertiser(AdvertiserId(20))), (4, 4));
        // The lost one, once for each entity that was counted live.
        let corrections = all_corrections(&world);
        assert_eq!((report.corrections, corrections.len()), (5, 5), "{corrections:?}");
        assert!(corrections.iter().all(|it| it.entity.is_counted_live()));
        let again = restated(&world, false);
        assert_eq!(again.outcome, Outcome::Unchanged, "{again:?}");
    }
}

#[test]
fn an_hour_that_was_sealed_without_pairs_gets_them_when_it_is_asked_for() {
    let world = World::new(10_000);
    let clicks = [placed(1, 5), placed(2, 6), click(3, 6, 1)];
    world.deliver(HOUR, &clicks);
    world.count(1, &clicks);
    world.count_placements(1, &clicks);
    world.sealed();
    forget_pairs(&world);
    let before = world.manifest();

    let shown = restated(&world, true);
    assert_eq!(
        (shown.outcome, shown.corrections),
        (Outcome::Shown, 0),
        "{shown:?}"
    );
    assert!(shown.detail.contains("by placement"), "{shown:?}");
    assert_eq!(world.manifest(), before);

    let report = restated(&world, false);
    assert_eq!(
        (report.outcome, report.corrections),
        (Outcome::Sealed, 0),
        "{report:?}"
    );
    assert_eq!(world.seen(PAIR), (2, 2));
    assert_eq!(world.seen(Entity::Total), (3, 3));
    assert!(world.manifest().version > before.version);
    assert!(all_corrections(&world).is_empty());
    assert_eq!(restated(&world, false).outcome, Outcome::Unchanged);
}

#[test]
fn a_closed_hour_gets_its_pairs_without_an_adjustment_and_none_once_something_is_owed() {
    for owed in [false, true] {
        let world = World::new(10_000);
        world.deliver(HOUR, &[placed(1, 5)]);
        world.hourly();
        world.daily();
        let later = HOUR.end_ms() + ReconcileConfig::default().close_after_ms + 3 * HOUR_MS;
        world.time.run_until(later);
        world.daily();
        assert_eq!(world.manifest().state, HourState::Closed);
        if owed {
            world.deliver(Hour::of(later), &[placed(2, 6)]);
            world.time.run_until(later + HOUR_MS);
            world.daily();
            assert!(world.manifest().adjusted > 0);
        }
        let before = all_corrections(&world).len();
        forget_pairs(&world);
        let closed = world.manifest();
        let asked = Restatement {
            from: HOUR,
            to: Hour(HOUR.0 + 1),
            dry_run: false,
            accept_lowering: false,
            asked_at_ms: None,
        };
        let arrivals = world.time.block_on(world.reconcile.restate(&asked)).unwrap();
        let report = &arrivals[0];
        assert_eq!(report.corrections, 0, "{report:?}");
        let now = world.manifest();
        assert_eq!(now.state, HourState::Closed);
        assert_eq!(world.seen(Entity::Total), (1, 1), "what was billed");
        if owed {
            assert_eq!(report.outcome, Outcome::Unchanged, "{report:?}");
            assert_eq!((now.version, now.adjusted), (closed.version, closed.adjusted));
        } else {
            assert_eq!(report.outcome, Outcome::Sealed, "{report:?}");
            assert_eq!((world.seen(PAIR), now.adjusted), ((1, 1), 0));
            assert!(now.version > closed.version);
        }
        assert_eq!(all_corrections(&world).len(), before);
        assert_eq!(restated(&world, false).outcome, Outcome::Unchanged);
    }
}

#[test]
fn a_pair_of_a_day_is_its_hours_and_a_click_that_takes_anothers_place_moves_in_its_pair_too() {
    let world = World::new(10_000);
    let orphan = placed(1, 5);
    let heir = ClickRecord {
        placement_id: Some(PlacementId(5)),
        ..duplicate(2, 6, &orphan)
    };
    world.deliver(HOUR, &[heir]);
    world
        .time
        .run_until(HOUR.day().first_hour().start_ms() + 26 * HOUR_MS);
    world.hourly();
    assert_eq!(world.seen(PAIR), (1, 0));
    world.daily();
    assert_eq!(world.seen(PAIR), (1, 1), "it has taken the orphan's place");
    let version = world.seals.all_days()[0].version;
    let items = world.seals.all_sealed_days();
    let of_day = items.iter().find(|it| it.version == version && it.entity == PAIR);
    let quarters = &of_day.unwrap().quarters;
    assert_eq!((quarters.len(), quarters[0].counters.valid()), (1, 1));
    assert!(
        all_corrections(&world)
            .iter()
            .all(|it| it.entity.is_counted_live())
    );
}

#[test]
fn what_comes_after_closing_is_owed_once_and_readers_see_what_was_billed() {
    let world = World::new(10_000);
    world.deliver(HOUR, &[click(1, 5, 1)]);
    world.hourly();
    world.daily();
    let later = HOUR.end_ms() + ReconcileConfig::default().close_after_ms + 3 * HOUR_MS;
    world.time.run_until(later);
    world.daily();
    assert_eq!(world.manifest().state, HourState::Closed);
    let arrival = Hour::of(later);
    world.deliver(arrival, &[click(2, 6, 1)]);
    world.time.run_until(later + HOUR_MS);
    world.daily();
    world.time.run_until(later + 2 * HOUR_MS);
    world.deliver(arrival, &[click(3, 6, 1)]);
    world.daily();
    world.daily();
    assert_eq!(world.seen(Entity::Total), (1, 1));
    let corrections = world
        .time
        .block_on(world.seals.corrections(HOUR, None, 100))
        .unwrap();
    let owed: Vec<_> = corrections
        .iter()
        .filter(|it| it.adjustment && it.entity == Entity::Total)
        .map(|it| (it.before.gross(), it.after.gross()))
        .collect();
    assert_eq!(owed, [(0, 1), (1, 2)]);
}

#[test]
fn a_daily_run_keeps_its_cut_until_it_is_done() {
    let world = World::new(10_000);
    world.deliver(HOUR, &[click(1, 5, 1)]);
    world.hourly();
    world.complete.0.store(false, Ordering::Relaxed);
    let daily = || world.time.block_on(world.reconcile.daily()).unwrap();
    let cut_ms = world.time.now_ms() - ReconcileConfig::default().slack_ms;
    assert!(!daily().done);
    world.time.run_until(world.time.now_ms() + 2 * HOUR_MS);
    assert!(!daily().done);
    assert!(world.time.block_on(world.reconcile.is_daily_due()).unwrap());
    world.complete.0.store(true, Ordering::Relaxed);
    let run = daily();
    assert_eq!((run.done, run.cut_ms), (true, cut_ms));
    assert!(!world.time.block_on(world.reconcile.is_daily_due()).unwrap());
    assert!(daily().cut_ms > cut_ms);
}

#[test]
fn an_hour_that_is_marked_after_the_last_run_saw_its_clicks_is_looked_at() {
    let world = World::new(10_000);
    world.deliver(HOUR, &[click(1, 5, 1)]);
    world.hourly();
    world.daily();
    world.time.run_until(world.time.now_ms() + 30 * HOUR_MS);
    world.hourly();
    world.daily();
    world.time.block_on(world.seals.mark_dirty(&[HOUR])).unwrap();
    world.time.run_until(world.time.now_ms() + HOUR_MS);
    world.daily();
    assert!(!world.manifest().is_dirty());
}

#[test]
fn reports_of_one_hour_have_times_of_their_own() {
    let world = World::new(10_000);
    world.deliver(HOUR, &[click(1, 5, 1)]);
    world.hourly();
    world.deliver(HOUR, &[click(2, 5, 1)]);
    world.daily();
    let reports = world
        .time
        .block_on(world.seals.reports(HOUR, Hour(HOUR.0 + 1), None, 9))
        .unwrap();
    let chain: Vec<_> = reports
        .iter()
        .map(|report| (report.replaces, report.version))
        .collect();
    assert_eq!(chain.len(), 2);
    assert_eq!((chain[0].0, chain[0].1), (0, chain[1].0));
    assert_eq!(chain[1].1, world.manifest().version);
}

/// Remembers what it was given.
#[derive(Default)]
struct Appends(std::sync::Mutex<Vec<Vec<i64>>>);

#[async_trait]
impl RawLake for Appends {
    async fn append(&self, _shard: &ShardId, records: &[StreamRecord]) -> PortResult<()> {
        let arrivals = records.iter().map(|record| record.arrived_at_ms);
        self.0.lock().unwrap().push(arrivals.collect());
        Ok(())
    }
}

#[test]
fn a_batch_over_several_hours_is_delivered_hour_by_hour() {
    let lake = Arc::new(Appends::default());
    let delivery = LakeDelivery::new(lake.clone());
    let at = HOUR.start_ms();
    let arrivals = [at, at + 5, at + HOUR_MS, at + 3 * HOUR_MS, at + 3 * HOUR_MS + 7];
    let batch: Vec<StreamRecord> = (1_u64..)
        .zip(arrivals)
        .map(|(n, arrived_at_ms)| StreamRecord {
            sequence_number: SequenceNumber::from(n),
            arrived_at_ms,
            data: Vec::new(),
        })
        .collect();
    let time = VirtualTime::new(at);
    assert_eq!(time.block_on(delivery.consume(&"s".into(), &batch)), None);
    let given = lake.0.lock().unwrap().clone();
    assert_eq!(given, [&arrivals[..2], &arrivals[2..3], &arrivals[3..]]);
}

/// The process that ruled stood still until another one had done its work, and the window of arrivals had gone by.
#[test]
fn what_was_ruled_late_is_seen_by_the_next_daily_run_however_old_its_hours_are() {
    let (world, next) = (World::new(10_000), Hour(HOUR.0 + 1));
    let orphan = click(1, 50, 1);
    let heir = duplicate(2, 65, &orphan);
    world.deliver(HOUR, std::slice::from_ref(&orphan));
    world.deliver(next, std::slice::from_ref(&heir));
    world.time.run_until(next.end_ms() + 3 * 24 * HOUR_MS);
    world.hourly();
    world.daily();
    let seen = || [HOUR, next].map(|hour| world.seen_in(hour, Entity::Ad(AdId(1))));
    assert_eq!(seen(), [(1, 1), (1, 0)]);

    for (click_id, kind, other) in [
        (heir.click_id, RulingKind::TakesPlaceOf, orphan.click_id),
        (orphan.click_id, RulingKind::DisplacedBy, heir.click_id),
    ] {
        let ruling = Ruling {
            click_id,
            kind,
            other,
        };
        world.time.block_on(world.seals.rule(ruling)).unwrap();
    }
    world.time.run_until(next.end_ms() + 4 * 24 * HOUR_MS);
    world.daily();
    assert_eq!(seen(), [(1, 0), (1, 1)]);
    assert!(world.daily().is_empty(), "all is done");
}

#[test]
fn what_another_run_rules_while_an_hour_is_sealed_is_applied_or_not_taken_for_known() {
    let (orphan, heir) = (click(1, 50, 1), duplicate(2, 55, &click(1, 50, 1)));
    let rulings = vec![
        Ruling {
            click_id: heir.click_id,
            kind: RulingKind::TakesPlaceOf,
            other: orphan.click_id,
        },
        Ruling {
            click_id: orphan.click_id,
            kind: RulingKind::DisplacedBy,
            other: heir.click_id,
        },
    ];
    let world = World::ruled_by(10_000, |seals| {
        Arc::new(Meanwhile {
            seals,
            rulings: Mutex::new(rulings),
        })
    });
    world.deliver(HOUR, std::slice::from_ref(&heir));
    world.sealed();
    assert_eq!(world.manifest().rulings, 2);
    assert_eq!(world.seen(Entity::Ad(AdId(1))), (1, 1));
}

/// A click whose claim was not answered may come to be a later click's duplicate: whether that one ever came is only known when
/// the lake is proved for its hour.
#[test]
fn a_later_owner_is_no_orphan_before_it_can_have_come() {
    for comes in [true, false] {
        let world = World::new(10_000);
        world.time.run_until(HOUR.start_ms() + 20 * HOUR_MS);
        let now_ms = world.time.now_ms();
        let first = ClickRecord {
            claimed: false,
            ..click(1, 10, 1)
        };
        let owner = ClickRecord {
            impression_id: first.impression_id,
            ..click(2, 19 * 60 + 50, 1)
        };
        let claim = Claim {
            impression_id: first.impression_id.unwrap(),
            click_id: owner.click_id,
            expires_ms: i64::MAX,
        };
        world.time.block_on(world.claims.claim(claim, now_ms)).unwrap();
        world.deliver(HOUR, std::slice::from_ref(&first));
        world.daily();
        assert_eq!(
            world.seen(Entity::Total),
            (1, 0),
            "the owner's is on its way, for all that is known"
        );

        let its_hour = Hour::of(owner.clicked_at_ms);
        if comes {
            world.deliver(its_hour, std::slice::from_ref(&owner));
        }
        world.time.run_until(now_ms + 30 * HOUR_MS);
        world.daily();
        let (of_first, of_owner) = if comes { (0, 1) } else { (1, 0) };
        assert_eq!(world.seen(Entity::Total), (1, of_first), "comes: {comes}");
        assert_eq!(
            world.seen_in(its_hour, Entity::Total).1,
            of_owner,
            "comes: {comes}"
        );
    }
}

/// What a run leaves that died when it had counted the hour's lake and written nothing.
fn counted_and_died(world: &World) {
    let now_ms = world.time.now_ms();
    let lease = world
        .seals
        .take(Job::Hour(HOUR), "a run that died", now_ms, now_ms + 1);
    let lease = world.time.block_on(lease).unwrap().unwrap();
    let arrivals = Hour(HOUR.0 - 1)..Hour(HOUR.0 + 2);
    let recount = world.time.block_on(world.lake.recount(HOUR, arrivals)).unwrap();
    let note = json!({
        "version": lease.fence, "recount": recount.id, "lake": recount.totals, "arrivals_end": HOUR.0 + 2,
        "revision": 0, "marks": 0, "begun_ms": now_ms, "proved_ms": 0, "rulings": 0, "special": 0, "counted": [0, 0],
        "row": 0, "slice": 0, "written": false, "corrections": 0,
    });
    let note = note.to_string();
    world
        .time
        .block_on(world.seals.release(&lease, Some(&note)))
        .unwrap();
}

/// The daily run of its arrival is the only one that looks for a late click: it must not go on with a recount from before it.
#[test]
fn a_daily_run_does_not_go_on_with_a_recount_that_lacks_what_came_since() {
    let late = || click(9, 30, 1);
    let left = || {
        let world = World::new(10_000);
        world.deliver(HOUR, &[click(1, 10, 1), click(2, 20, 1)]);
        counted_and_died(&world);
        world.deliver(Hour(HOUR.0 + 1), &[late()]);
        world
    };
    let hourly = left();
    hourly.hourly();
    assert_eq!(
        hourly.seen(Entity::Total),
        (2, 2),
        "the hourly run goes on with it"
    );
    hourly.daily();
    assert_eq!(hourly.seen(Entity::Total), (3, 3));

    let daily = left();
    daily.daily();
    assert_eq!(daily.seen(Entity::Total), (3, 3));
    assert_eq!(daily.lake.kept_recounts(), 0);

    // Nor does anybody go on with one of long ago.
    let long_after = left();
    long_after.time.run_until(long_after.time.now_ms() + 2 * HOUR_MS);
    long_after.hourly();
    assert_eq!(long_after.seen(Entity::Total), (3, 3));
}

fn restatement(hours: i64) -> Restatement {
    Restatement {
        from: HOUR,
        to: Hour(HOUR.0 + hours),
        dry_run: false,
        accept_lowering: false,
        asked_at_ms: None,
    }
}

#[test]
fn clicks_that_a_slow_delivery_names_by_the_hour_after_next_are_counted_with_the_hour_that_it_proves() {
    let world = World::new(10_000);
    world.deliver(HOUR, &[click(1, 5, 1)]);
    world.deliver(Hour(HOUR.0 + 2), &[click(2, 6, 1)]);
    world.time.run_until(HOUR.end_ms() + HOUR_MS + 20 * 60_000);
    assert_eq!(world.sealed().lake.clicks, 2);
    assert_eq!(world.seen(Entity::Total), (2, 2));
}

#[test]
fn an_hour_that_a_dead_run_holds_is_waited_for_by_a_restatement_and_left_to_the_next_one_where_time_ends() {
    let world = World::new(10_000);
    world.deliver(HOUR, &[click(1, 5, 1)]);
    world.hourly();
    world.time.run_until(world.time.now_ms() + 3 * HOUR_MS);
    world.deliver(Hour(HOUR.0 + 3), &[click(2, 6, 1)]);
    let held = |for_ms| {
        let now_ms = world.time.now_ms();
        let take = world.seals.take(Job::Hour(HOUR), "dead", now_ms, now_ms + for_ms);
        assert!(world.time.block_on(take).unwrap().is_some());
        now_ms
    };
    let lease_ms = ReconcileConfig::default().lease_ms;
    let restate = |until_ms| {
        let asked = restatement(2);
        let run = world.reconcile.restate_until(&asked, until_ms);
        world.time.block_on(run).unwrap()
    };
    let at_ms = held(lease_ms);
    let cut = restate(at_ms + 60_000);
    assert_eq!((cut.reports.len(), cut.rest), (0, Some(restatement(2))));
    let done = restate(i64::MAX);
    assert!(world.time.now_ms() >= at_ms + lease_ms);
    assert_eq!((done.reports.len(), done.rest), (2, None));
    assert_eq!(
        done.reports[0].outcome,
        Outcome::Unchanged,
        "the late click lies elsewhere"
    );

    // Who is not dead, but long at it, is told of.
    held(i64::from(u32::MAX));
    let done = restate(i64::MAX);
    assert_eq!(done.reports[0].outcome, Outcome::Overtaken);
    assert_eq!((done.reports.len(), done.rest), (2, None));
    let kept = world.seals.reports(HOUR, Hour(HOUR.0 + 1), None, 99);
    let kept = world.time.block_on(kept).unwrap();
    let overtaken = kept.iter().filter(|report| report.outcome == Outcome::Overtaken);
    assert_eq!(overtaken.count(), 1, "once, however often it looked");
}

#[test]
fn an_hour_that_is_sealed_long_after_its_time_is_closed_and_its_partials_are_forgotten() {
    let world = World::new(10_000);
    let clicks = [click(1, 5, 1)];
    world.deliver(HOUR, &clicks);
    world.count(1, &clicks);
    // Lost, and disputed for that.
    world.count(2, &[click(2, 6, 1)]);
    assert_eq!(world.sealed().outcome, Outcome::Disputed);
    world.daily();
    let config = ReconcileConfig::default();
    world
        .time
        .run_until(HOUR.end_ms() + config.keep_partials_ms + 30 * 24 * HOUR_MS);
    world.daily();
    assert_eq!(world.manifest().state, HourState::Disputed);
    let partials = || {
        let (first, next) = (HOUR.first_minute(), Hour(HOUR.0 + 1).first_minute());
        let found = world.buckets.read(Entity::Total, first, next);
        world.time.block_on(found).unwrap().len()
    };
    assert_eq!(partials(), 2, "nothing but these knows of them");
    let accepted = Restatement {
        accept_lowering: true,
        ..restatement(1)
    };
    world.time.block_on(world.reconcile.restate(&accepted)).unwrap();
    world.time.run_until(world.time.now_ms() + HOUR_MS);
    world.daily();
    assert_eq!((world.manifest().state, partials()), (HourState::Closed, 0));
}

#[test]
fn what_the_lake_will_never_have_holds_the_daily_run_up_until_a_person_says_so() {
    let world = World::new(10_000);
    world.deliver(HOUR, &[click(1, 5, 1)]);
    world.hourly();
    world.complete.0.store(false, Ordering::Relaxed);
    world.time.run_until(world.time.now_ms() + 2 * HOUR_MS);
    world.deliver(Hour(HOUR.0 + 2), &[click(2, 6, 1)]);
    let waits = world.time.block_on(world.reconcile.daily()).unwrap();
    assert_eq!((waits.done, &*waits.detail), (false, "a heartbeat is missing"));
    let run = world.reconcile.daily_of_incomplete();
    let run = world.time.block_on(run).unwrap();
    assert!(run.done);
    let of = |hours: i64| {
        run.reports
            .iter()
            .find(|report| report.hour == Hour(HOUR.0 + hours))
    };
    assert_eq!(of(0).unwrap().outcome, Outcome::Sealed);
    assert_eq!(
        of(1).unwrap().outcome,
        Outcome::Waiting,
        "an hour is not sealed unproved"
    );
    assert_eq!(world.seen(Entity::Total), (2, 2));
}

#[test]
fn what_live_counting_left_out_has_the_cause_that_its_marks_tell() {
    let causes = |marks: &dyn Fn(&World)| {
        let world = World::new(10_000);
        let clicks = [click(1, 5, 1), click(2, 6, 1)];
        world.deliver(HOUR, &clicks);
        world.count(1, &clicks[..1]);
        marks(&world);
        assert_eq!(world.sealed().outcome, Outcome::Sealed);
        let mut causes: Vec<Cause> = all_corrections(&world).iter().map(|it| it.cause).collect();
        causes.dedup();
        causes
    };
    let quarantined = |world: &World| world.time.block_on(world.seals.mark_quarantined(HOUR)).unwrap();
    let late = |world: &World| world.time.block_on(world.seals.mark_dirty(&[HOUR])).unwrap();
    assert_eq!(causes(&|_| ()), [Cause::LostInStream]);
    assert_eq!(causes(&late), [Cause::Late]);
    assert_eq!(causes(&quarantined), [Cause::Quarantined]);
    let both = |world: &World| {
        late(world);
        quarantined(world);
    };
    assert_eq!(causes(&both), [Cause::Unknown], "the marks are the hour's");
}

/// What the gauges say.
#[derive(Default)]
struct Gauges(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Gauges {
    fn get(&self, name: &str) -> Option<f64> {
        let gauges = self.0.lock().unwrap();
        gauges
            .get(name)
            .map(|gauge| f64::from_bits(gauge.load(Ordering::Relaxed)))
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut gauges = self.0.lock().unwrap();
        Gauge::from_arc(Arc::clone(gauges.entry(key.name().to_owned()).or_default()))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn an_hour_in_dispute_and_a_daily_run_that_waits_are_told_of_however_old_they_grow() {
    let world = World::new(10_000);
    world.deliver(HOUR, &[click(1, 5, 1)]);
    world.count(1, &[click(1, 5, 1), click(2, 6, 1)]);
    let gauges = Gauges::default();
    let day_ms = 24 * HOUR_MS;
    let told = |ran: &dyn Fn()| {
        metrics::with_local_recorder(&gauges, ran);
        let get = |name| gauges.get(name);
        (get(DISPUTED), get(SEAL_AGE), get(DAILY_AGE))
    };
    let hourly = || drop(world.hourly());
    assert_eq!(told(&hourly).0, Some(1.0));
    world.daily();
    let (_, _, since_daily) = told(&hourly);
    assert_eq!(
        since_daily,
        Some(ReconcileConfig::default().slack_ms as f64 / 1000.0)
    );
    world.complete.0.store(false, Ordering::Relaxed);
    world.time.run_until(HOUR.end_ms() + 20 * day_ms);
    let (disputed, seal_age, since_daily) = told(&hourly);
    assert_eq!(
        disputed,
        Some(1.0),
        "it is not caught up any more, and not forgotten"
    );
    assert!(seal_age.unwrap() > 20.0 * 86_400.0, "{seal_age:?}");
    assert!(since_daily.unwrap() > 19.0 * 86_400.0, "{since_daily:?}");
}
