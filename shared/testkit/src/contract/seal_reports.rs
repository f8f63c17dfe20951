//! [`SealReports`]: kept whole, each once, listed in order.

use clickledger_core::domain::correction::{Cause, Correction, HourReport, Outcome, RunKind};
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::manifest::{HourState, LakeTotals};
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::SealReports;

use super::{NOW_MS, unique};

const CAUSES: [Cause; 8] = [
    Cause::Late,
    Cause::LostInStream,
    Cause::CountedTwice,
    Cause::Quarantined,
    Cause::Promoted,
    Cause::Unclaimed,
    Cause::Restated,
    Cause::Unknown,
];

fn counters(n: u64) -> Counters {
    let key = |verdict, device| CounterKey::of(verdict, device, Country::ZZ);
    [
        (key(Verdict::Valid, Device::Mobile), n),
        (key(Verdict::Valid, Device::Tv), n / 2),
        (key(Verdict::Bot, Device::Tv), n / 3),
    ]
    .into_iter()
    .collect()
}

fn correction(entity: Entity, minute: Minute, version: u64, n: usize) -> Correction {
    Correction {
        entity,
        minute,
        version,
        before: counters(n as u64 / 2),
        after: counters(n as u64),
        cause: CAUSES[n % CAUSES.len()],
        adjustment: n % 2 == 1,
        made_at_ms: NOW_MS + n as i64,
    }
}

fn report(hour: Hour, at_ms: i64, n: usize) -> HourReport {
    let runs = [
        RunKind::Hourly,
        RunKind::Daily,
        RunKind::Restatement,
        RunKind::DryRun,
    ];
    let outcomes = [
        Outcome::Sealed,
        Outcome::Unchanged,
        Outcome::Waiting,
        Outcome::Disputed,
        Outcome::Adjusted,
        Outcome::Overtaken,
        Outcome::Shown,
    ];
    HourReport {
        hour,
        run: runs[n % runs.len()],
        outcome: outcomes[n % outcomes.len()],
        state: HourState::Sealed,
        version: n as u64,
        replaces: n as u64 / 2,
        lake: LakeTotals {
            rows: 12,
            clicks: 11,
            valid: 10,
        },
        counted: 9,
        counted_valid: 8,
        corrections: 7,
        detail: "\"quoted\", and ünïcode\n".repeat(n % 3),
        at_ms,
    }
}

async fn all_corrections(reports: &dyn SealReports, hour: Hour, limit: usize) -> Vec<Correction> {
    let (mut all, mut after) = (Vec::<Correction>::new(), None);
    loop {
        let page = reports.corrections(hour, after, limit).await.unwrap();
        assert!(page.len() <= limit);
        let full = page.len() == limit;
        all.extend(page);
        if !full {
            return all;
        }
        after = all.last().map(|last| (last.version, last.entity, last.minute));
    }
}

async fn all_reports(reports: &dyn SealReports, from: Hour, to: Hour, limit: usize) -> Vec<HourReport> {
    let (mut all, mut after) = (Vec::<HourReport>::new(), None);
    loop {
        let page = reports.reports(from, to, after, limit).await.unwrap();
        assert!(page.len() <= limit);
        let full = page.len() == limit;
        all.extend(page);
        if !full {
            return all;
        }
        after = all.last().map(|last| (last.hour, last.at_ms));
    }
}

/// By version, entity and minute, in pages, every field; an hour's are its own.
pub async fn corrections_are_listed_in_order_and_whole(reports: &dyn SealReports) {
    let hour = unique::day().first_hour();
    let next = Hour(hour.0 + 1);
    let (low, high) = (unique::entity(), unique::entity());
    let mut all = Vec::new();
    for version in [2, 3, 300] {
        for entity in [low, high, Entity::Total] {
            for place in [0, 9, 59] {
                let minute = Minute(hour.first_minute().0 + place);
                all.push(correction(entity, minute, version, all.len()));
            }
        }
    }
    let mut shuffled = all.clone();
    shuffled.reverse();
    for some in shuffled.chunks(5) {
        reports.correct(hour, some).await.unwrap();
    }
    let beside = correction(low, next.first_minute(), 2, 1);
    reports
        .correct(next, std::slice::from_ref(&beside))
        .await
        .unwrap();
    reports.correct(hour, &[]).await.unwrap();
    for limit in [1, 4, all.len(), 1_000] {
        assert_eq!(all_corrections(reports, hour, limit).await, all);
    }
    assert_eq!(all_corrections(reports, next, 10).await, [beside]);
}

/// Applied, answer lost, retried; also with another finding: one of the same version, entity and minute.
pub async fn correction_that_is_made_again_is_replaced(reports: &dyn SealReports) {
    let hour = unique::day().first_hour();
    let entity = unique::entity();
    let first = correction(entity, hour.first_minute(), 2, 1);
    for _ in 0..2 {
        reports.correct(hour, std::slice::from_ref(&first)).await.unwrap();
    }
    assert_eq!(all_corrections(reports, hour, 10).await, [first]);
    let other = correction(entity, hour.first_minute(), 2, 6);
    reports.correct(hour, std::slice::from_ref(&other)).await.unwrap();
    assert_eq!(all_corrections(reports, hour, 10).await, [other]);
}

/// More than any page or transaction of a store holds.
pub async fn many_corrections_are_kept(reports: &dyn SealReports) {
    let hour = unique::day().first_hour();
    let mut all: Vec<Correction> = (0..310)
        .map(|n| correction(unique::entity(), hour.first_minute(), 5, n))
        .collect();
    reports.correct(hour, &all).await.unwrap();
    all.sort_by_key(|one| one.entity);
    assert_eq!(all_corrections(reports, hour, 90).await, all);
}

/// By hour and time, in pages, every field; one of the same hour and time is replaced.
pub async fn reports_are_listed_in_order_and_whole(reports: &dyn SealReports) {
    let first = unique::day().first_hour();
    let at = |n: i64| Hour(first.0 + n);
    let mut all = Vec::new();
    for hour in [0, 1, 30] {
        for ms in [0, 5, 70_000] {
            all.push(report(at(hour), NOW_MS + ms, all.len()));
        }
    }
    for one in all.iter().rev().chain(&all) {
        reports.report(one).await.unwrap();
    }
    for limit in [1, 4, all.len(), 1_000] {
        assert_eq!(all_reports(reports, at(0), at(31), limit).await, all);
    }
    assert_eq!(all_reports(reports, at(1), at(30), 2).await, all[3..6]);
    assert_eq!(all_reports(reports, at(2), at(30), 2).await, []);
    let newer = report(at(1), NOW_MS, 100);
    reports.report(&newer).await.unwrap();
    assert_eq!(reports.reports(at(1), at(2), None, 1).await.unwrap(), [newer]);
}

/// Makes a test of every case.
#[macro_export]
macro_rules! seal_reports_contract {
    ($open:path) => {
        $crate::contract_cases!(
            seal_reports as seal_reports,
            $open,
            [
                corrections_are_listed_in_order_and_whole,
                correction_that_is_made_again_is_replaced,
                many_corrections_are_kept,
                reports_are_listed_in_order_and_whole,
            ]
        );
    };
}
