//! What is true of sealed hours and days: gross and invalid clicks exactly, one valid click for each impression, entities that
//! agree, and a correction for every difference.

use std::collections::{BTreeMap, BTreeSet};

use clickledger_core::domain::correction::Correction;
use clickledger_core::domain::counter::{Counted, Counters};
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::{AdId, ClickId};
use clickledger_core::domain::manifest::{HourState, Manifest};
use clickledger_core::domain::sealed::SealedDay;
use clickledger_core::domain::time::{Day, Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_testkit::memory::MemorySeals;

use crate::matching::{matched, own};
use crate::truth::{Durable, entities, sealed_entities};
use crate::watch::valid;

type ByMinute = BTreeMap<BucketKey, Counters>;

/// The version with all that is known of an hour: what readers see and, once it is closed, what is owed.
fn latest(manifest: &Manifest) -> u64 {
    match manifest.adjusted {
        0 => manifest.version,
        adjusted => adjusted,
    }
}

/// All that is known of the sealed hours.
fn counted(seals: &MemorySeals) -> ByMinute {
    let versions: BTreeMap<Hour, u64> = seals
        .all_manifests()
        .iter()
        .map(|manifest| (manifest.hour, latest(manifest)))
        .collect();
    let mut counted = ByMinute::new();
    for item in seals.all_sealed_hours() {
        if versions.get(&item.hour) == Some(&item.version) {
            for (place, counters) in &item.minutes {
                let (entity, minute) = (item.entity, item.minute(*place));
                counted.insert(BucketKey { entity, minute }, counters.clone());
            }
        }
    }
    counted
}

/// Clicks by verdict, but for the one thing that only claims and promotion decide.
fn settled(verdict: Verdict) -> Option<Verdict> {
    (!matches!(verdict, Verdict::Valid | Verdict::Duplicate)).then_some(verdict)
}

/// Everything that is wrong with what was sealed.
pub(crate) fn wrong(
    seals: &MemorySeals,
    clicks: &BTreeMap<ClickId, Durable>,
    partials: &ByMinute,
    hours: std::ops::Range<Hour>,
    damaged: &BTreeSet<Hour>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let manifests = seals.all_manifests();
    for hour in (hours.start.0..hours.end.0).map(Hour) {
        let found = manifests.iter().find(|manifest| manifest.hour == hour);
        let state = found.map_or(HourState::Open, |manifest| manifest.state);
        if !matches!(state, HourState::Sealed | HourState::Closed) {
            wrong.push(format!("hour {} is {}", hour.0, state.as_str()));
        } else if found.is_some_and(Manifest::is_dirty) {
            wrong.push(format!("hour {} is sealed and still dirty", hour.0));
        }
    }
    let counted = counted(seals);
    wrong.extend(gross(&counted, clicks));
    wrong.extend(agreement(&counted, clicks));
    wrong.extend(pairs(&counted));
    let own = own(clicks);
    let found = matched(&valid(&counted), &own);
    if !found.short.is_empty() {
        wrong.push(format!(
            "sealed: impressions {:?} have no valid click",
            found.short
        ));
    }
    if !found.over.is_empty() {
        wrong.push(format!(
            "sealed: more valid clicks than impressions in {:?}",
            found.over
        ));
    }
    for manifest in &manifests {
        // By hand a partial may also be changed after it was compared.
        let live = (!damaged.contains(&manifest.hour)).then_some(partials);
        wrong.extend(corrections(seals, manifest, &counted, live));
    }
    wrong.extend(days(seals, &manifests));
    wrong
}

fn gross(counted: &ByMinute, clicks: &BTreeMap<ClickId, Durable>) -> Vec<String> {
    let (mut is, mut must) = (BTreeMap::new(), BTreeMap::new());
    for (key, counters) in counted {
        for (counter, count) in counters.iter() {
            let verdict = match counter.counted() {
                Counted::Cell(..) => Verdict::Valid,
                Counted::Invalid(verdict) => verdict,
            };
            *is.entry((*key, settled(verdict))).or_insert(0) += count;
        }
    }
    for Durable { record, .. } in clicks.values() {
        let minute = Minute::of(record.clicked_at_ms);
        for entity in sealed_entities(record) {
            let key = BucketKey { entity, minute };
            *must.entry((key, settled(record.verdict))).or_insert(0) += 1;
        }
    }
    let keys: BTreeSet<_> = is.keys().chain(must.keys()).copied().collect();
    let differ = keys.into_iter().filter(|key| is.get(key) != must.get(key));
    differ
        .map(|key| {
            let (is, must) = (is.get(&key).unwrap_or(&0), must.get(&key).unwrap_or(&0));
            format!(
                "sealed: {} in minute {} has {is} {:?}, must have {must}",
                key.0.entity,
                key.0.minute.0,
                key.1.map_or("real", Verdict::as_str)
            )
        })
        .collect()
}

/// Campaigns, advertisers and the total are the sums of their ads.
fn agreement(counted: &ByMinute, clicks: &BTreeMap<ClickId, Durable>) -> Vec<String> {
    let of_ad: BTreeMap<AdId, Vec<Entity>> = clicks
        .values()
        .map(|click| {
            let above = entities(&click.record);
            let above = above.filter(|entity| !matches!(entity, Entity::Ad(_) | Entity::Placement(_)));
            (click.record.ad_id, above.collect())
        })
        .collect();
    let mut sums = ByMinute::new();
    for (key, counters) in counted {
        if let Entity::Ad(ad_id) = key.entity {
            for entity in of_ad.get(&ad_id).into_iter().flatten() {
                let minute = key.minute;
                sums.entry(BucketKey {
                    entity: *entity,
                    minute,
                })
                .or_default()
                .merge(counters);
            }
        }
    }
    let others = counted
        .iter()
        .filter(|(key, _)| key.entity.is_counted_live())
        .filter(|(key, _)| !matches!(key.entity, Entity::Ad(_) | Entity::Placement(_)));
    let others: ByMinute = others.map(|(key, counters)| (*key, counters.clone())).collect();
    let mut wrong = Vec::new();
    if sums != others {
        wrong.push("sealed: entities disagree".to_owned());
    }
    // Every click that could be valid has a placement.
    let valid = |placements: bool| {
        let mut sums: BTreeMap<Minute, u64> = BTreeMap::new();
        for (key, counters) in counted {
            let wanted = match key.entity {
                Entity::Placement(_) => placements,
                Entity::Total => !placements,
                _ => false,
            };
            if wanted && counters.valid() > 0 {
                *sums.entry(key.minute).or_default() += counters.valid();
            }
        }
        sums
    };
    if valid(true) != valid(false) {
        wrong.push("sealed: placements disagree".to_owned());
    }
    wrong
}

/// Pairs add up to their placements in every counter, and in valid clicks to their advertisers: each of those has a placement.
fn pairs(counted: &ByMinute) -> Vec<String> {
    let (mut of_placements, mut of_advertisers) = (ByMinute::new(), ByMinute::new());
    for (key, counters) in counted {
        if let Entity::AdvertiserPlacement(advertiser, placement) = key.entity {
            let minute = key.minute;
            for (sums, entity) in [
                (&mut of_placements, Entity::Placement(placement)),
                (&mut of_advertisers, Entity::Advertiser(advertiser)),
            ] {
                sums.entry(BucketKey { entity, minute })
                    .or_default()
                    .merge(counters);
            }
        }
    }
    let valid = |counted: &ByMinute| -> BTreeMap<BucketKey, u64> {
        let advertisers = counted
            .iter()
            .filter(|(key, _)| matches!(key.entity, Entity::Advertiser(_)));
        advertisers
            .map(|(key, counters)| (*key, counters.valid()))
            .filter(|(_, valid)| *valid > 0)
            .collect()
    };
    let placements = counted
        .iter()
        .filter(|(key, _)| matches!(key.entity, Entity::Placement(_)));
    let mut wrong = Vec::new();
    if !placements.eq(&of_placements) {
        wrong.push("sealed: pairs disagree with their placements".to_owned());
    }
    if valid(counted) != valid(&of_advertisers) {
        wrong.push("sealed: pairs disagree with their advertisers".to_owned());
    }
    wrong
}

/// The corrections in force lead from the partials to what is known, one after the other, and none lowers what it may not.
fn corrections(
    seals: &MemorySeals,
    manifest: &Manifest,
    counted: &ByMinute,
    partials: Option<&ByMinute>,
) -> Vec<String> {
    let (mut wrong, mut chain, mut version) = (Vec::new(), Vec::new(), latest(manifest));
    let reports = seals.all_reports();
    while version > 0 {
        let of_version = |report: &&clickledger_core::domain::correction::HourReport| {
            (report.hour, report.version) == (manifest.hour, version) && report.replaces != version
        };
        let Some(report) = reports.iter().rfind(of_version) else {
            wrong.push(format!(
                "hour {} has no report on version {version}",
                manifest.hour.0
            ));
            return wrong;
        };
        chain.push(report);
        version = report.replaces;
    }
    let all = seals.all_corrections();
    let mut known: BTreeMap<BucketKey, Counters> = BTreeMap::new();
    for report in chain.iter().rev() {
        let repeats = match report.replaces {
            0 => report.lake.rows - report.lake.clicks,
            _ => 0,
        };
        let of_version = all
            .iter()
            .map(|(_, correction)| correction)
            .filter(|it| it.minute.hour() == manifest.hour && it.version == report.version);
        let mut made = 0;
        for Correction {
            entity,
            minute,
            before,
            after,
            ..
        } in of_version
        {
            made += 1;
            if !entity.is_counted_live() {
                wrong.push(format!("{entity} was corrected, which only follows from others"));
            }
            let (entity, minute) = (*entity, *minute);
            let accepted = report.run == clickledger_core::domain::correction::RunKind::Restatement;
            if before.gross() > after.gross() + repeats && !accepted {
                wrong.push(format!(
                    "{entity} was lowered in minute {}, and nobody disputed it",
                    minute.0
                ));
            }
            let was = known.insert(BucketKey { entity, minute }, after.clone());
            if was.is_some_and(|was| was != *before) {
                wrong.push(format!(
                    "{entity}'s corrections of minute {} don't follow",
                    minute.0
                ));
            }
        }
        // More, where a run died between a slice's corrections and its note, and live counting caught up meanwhile.
        if made < report.corrections {
            wrong.push(format!(
                "hour {}: {made} corrections, but {} are reported",
                manifest.hour.0, report.corrections
            ));
        }
    }
    if let Some(partials) = partials.filter(|_| manifest.is_sealed()) {
        let nothing = Counters::default();
        let keys = partials.keys().chain(counted.keys()).chain(known.keys());
        let keys = keys.filter(|key| key.minute.hour() == manifest.hour && key.entity.is_counted_live());
        let keys: BTreeSet<&BucketKey> = keys.collect();
        for key in keys {
            let told = known.get(key).or_else(|| partials.get(key)).unwrap_or(&nothing);
            let is = counted.get(key).unwrap_or(&nothing);
            if told != is {
                wrong.push(format!(
                    "{} in minute {}: {is:?} is sealed, but partials and corrections say {told:?}",
                    key.entity, key.minute.0
                ));
            }
        }
    }
    wrong
}

/// A sealed day is its hours; a day whose hours are all sealed is sealed.
fn days(seals: &MemorySeals, manifests: &[Manifest]) -> Vec<String> {
    let mut wrong = Vec::new();
    let of_days: BTreeSet<Day> = manifests.iter().map(|manifest| manifest.hour.day()).collect();
    let stored = seals.all_days();
    for day in of_days {
        let hours: Vec<&Manifest> = manifests.iter().filter(|it| it.hour.day() == day).collect();
        let settled = |it: &&&Manifest| matches!(it.state, HourState::Sealed | HourState::Closed);
        let whole = hours.iter().filter(settled).count() == 24;
        let version = stored.iter().find(|it| it.day == day).map_or(0, |it| it.version);
        if whole != (version > 0) {
            wrong.push(format!(
                "day {} is sealed: {}, must be: {whole}",
                day.0,
                version > 0
            ));
        }
        if version == 0 {
            continue;
        }
        let mut items = seals.all_sealed_hours();
        items.retain(|item| {
            hours
                .iter()
                .any(|it| (it.hour, it.version) == (item.hour, item.version))
        });
        let entities: BTreeSet<Entity> = items.iter().map(|item| item.entity).collect();
        let must = entities.into_iter().filter_map(|entity| {
            let own: Vec<_> = items
                .iter()
                .filter(|item| item.entity == entity)
                .cloned()
                .collect();
            SealedDay::of_hours(entity, day, version, &own)
        });
        let mut is = seals.all_sealed_days();
        is.retain(|item| (item.day, item.version) == (day, version));
        if !must.eq(is) {
            wrong.push(format!("day {} is not its hours", day.0));
        }
    }
    wrong
}
