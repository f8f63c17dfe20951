//! The statements that Athena runs on AWS, run by DuckDB on a lake of millions of clicks as Firehose writes it, and the
//! embedded reader on the same files: the same numbers.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a test suite: a panic is its way to say no

mod athena;
#[path = "../template/cloudformation.rs"]
#[allow(dead_code)]
mod cloudformation;
mod firehose;

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Result, ensure};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{ClickId, HeartbeatId};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{ClickedHour, LakeReader, LakeSlice, RecountRow};
use clickledger_embedded::{Embedded, LakeFolder, OpenOptions};

use crate::firehose::Truth;

/// 2026-01-02T23:00:00Z: arrivals go over midnight.
const HOUR: Hour = Hour(490_943);
const SEED: u64 = 11;
/// More than there are of any kind that is listed.
const ALL: usize = 10_000_000;

/// Every row of a recount of the hour.
async fn recount(reader: &LakeFolder, truth: &Truth) -> Result<Vec<RecountRow>> {
    let arrivals = truth.arrivals.0..truth.arrivals.1;
    let recount = reader.recount(truth.hour, arrivals).await?;
    ensure!(
        (recount.totals.clicks, recount.totals.rows) == (truth.clicks, truth.rows),
        "{:?} is not what was written: {truth:?}",
        recount.totals
    );
    let mut rows = Vec::new();
    loop {
        let page = reader.rows(&recount.id, rows.len() as u64, 10_000).await?;
        let last = page.len() < 10_000;
        rows.extend(page);
        if last {
            break;
        }
    }
    reader.forget(&recount.id).await?;
    Ok(rows)
}

fn same(name: &str, ours: &[RecountRow], theirs: &[RecountRow]) -> Result<()> {
    for (ours, theirs) in ours.iter().zip(theirs) {
        ensure!(ours == theirs, "{name}: {ours:?} is {theirs:?} by SQL");
    }
    ensure!(
        ours.len() == theirs.len(),
        "{name}: {} rows, {} by SQL",
        ours.len(),
        theirs.len()
    );
    Ok(())
}

/// Every statement against the reader, on a lake of so many clicks.
async fn agree(folder: &Path, clicks: u64) -> Result<()> {
    let truth = firehose::fill(folder, HOUR, clicks, SEED)?;
    println!(
        "{} clicks of the hour in {} rows, {} objects",
        truth.clicks, truth.rows, truth.objects
    );
    let store = Embedded::open(folder, OpenOptions::default())?;
    let reader = store.lake_reader();
    let all = LakeSlice {
        arrivals: truth.arrivals.0..truth.arrivals.1,
        clicked: None,
    };
    let of_hour = LakeSlice {
        clicked: Some(truth.hour),
        ..all.clone()
    };
    // Half of these lie in the lake.
    let wanted: Vec<ClickId> = truth
        .some
        .iter()
        .take(2_000)
        .flat_map(|id| [*id, ClickId(id.0 ^ 1)])
        .collect();
    let ids: Vec<String> = wanted.iter().map(|id| format!("'{id}'")).collect();
    let owners = athena::partitions(&all.arrivals)?;
    let limit = ALL.to_string();
    let unclaimed = [("which", "verdict = 'valid' AND NOT claimed"), ("limit", &*limit)];
    let orphaned = [
        ("which", "1 = 1"),
        ("limit", &*limit),
        ("owner_partitions", &*owners),
    ];
    let queries = [
        ("recount.csv", athena::filled("recount", &of_hour, &[])?),
        ("hours.csv", athena::filled("clicked_hours", &all, &[])?),
        ("heartbeats.csv", athena::filled("heartbeats", &all, &[])?),
        (
            "present.csv",
            athena::filled("present", &all, &[("ids", &ids.join(", "))])?,
        ),
        ("unclaimed.csv", athena::filled("clicks", &of_hour, &unclaimed)?),
        ("orphaned.csv", athena::filled("orphaned", &of_hour, &orphaned)?),
    ];
    let results = tempfile::tempdir()?;
    let result = |name: &str| results.path().join(name);
    athena::run(results.path(), &athena::table(&folder.join("lake"))?, &queries)?;

    let ours = recount(&reader, &truth).await?;
    let theirs = athena::recounted(result("recount.csv"))?;
    same("the recount", &ours, &theirs.rows)?;
    // Every click is one ad's, one campaign's, one advertiser's, and in the total; forged ones have no placement.
    for kind in [0, 1, 2, 4] {
        ensure!(
            theirs.sums[kind] == (truth.clicks, truth.rows),
            "{:?}",
            theirs.sums
        );
    }

    // Each of the others by one pair of advertiser and placement too.
    ensure!(
        theirs.sums.len() == 6 && theirs.sums[5] == theirs.sums[3] && theirs.sums[5] < theirs.sums[0],
        "{:?}",
        theirs.sums
    );
    let is_pair = |row: &&RecountRow| matches!(row.entity, Entity::AdvertiserPlacement(..));
    ensure!(
        theirs.rows.iter().filter(is_pair).count() > 60,
        "hardly any pair's minute"
    );

    let mut hours = Vec::new();
    for line in athena::lines(result("hours.csv"))? {
        let line = line?;
        let number = |place| athena::field::<i64>(&line, place).map(Option::unwrap);
        let arrival: jiff::Timestamp = format!("{}:00:00Z", &line[2]).parse()?;
        hours.push(ClickedHour {
            hour: Hour::of(number(0)?),
            clicks: number(1)?.unsigned_abs(),
            last_arrival: Hour::of(arrival.as_millisecond()),
        });
    }
    ensure!(
        hours.len() == 3 && hours == reader.clicked_hours(all.arrivals.clone()).await?,
        "{hours:?}"
    );

    let heartbeats = athena::lines(result("heartbeats.csv"))?;
    let heartbeats: HashSet<HeartbeatId> = heartbeats
        .map(|line| Ok(line?[0].parse().unwrap()))
        .collect::<Result<_>>()?;
    ensure!(heartbeats.len() > 150 && heartbeats == reader.heartbeats(all.arrivals.clone()).await?);

    let present = athena::lines(result("present.csv"))?;
    let present: HashSet<ClickId> = present
        .map(|line| Ok(line?[0].parse().unwrap()))
        .collect::<Result<_>>()?;
    ensure!(present == reader.present(all.arrivals.clone(), &wanted).await?);
    ensure!(
        2 * present.len() == wanted.len(),
        "{} of {}",
        present.len(),
        wanted.len()
    );

    let unclaimed = athena::clicks(result("unclaimed.csv"))?;
    ensure!(unclaimed.len() as u64 == truth.unclaimed, "{}", unclaimed.len());
    ensure!(unclaimed == reader.unclaimed(&of_hour, None, ALL).await?);
    let orphaned = athena::clicks(result("orphaned.csv"))?;
    ensure!(!orphaned.is_empty());
    ensure!(orphaned == reader.orphaned(&of_hour, all.arrivals.clone(), None, ALL).await?);

    // The days as Parquet, as Athena unloads them, are the same table.
    let history = tempfile::tempdir()?;
    let days = ["2026-01-02", "2026-01-03"].map(|day| {
        let name = format!("dt={day}/clicks.parquet");
        Ok((name, athena::compaction(day)?))
    });
    let days: Vec<(String, String)> = days.into_iter().collect::<Result<_>>()?;
    let days: Vec<(&str, String)> = days.iter().map(|(name, sql)| (&**name, sql.clone())).collect();
    athena::run(history.path(), &athena::table(&folder.join("lake"))?, &days)?;
    let of_files = [
        ("again.csv", queries[0].1.clone()),
        ("files.csv", athena::held("2026-01-02")?),
    ];
    athena::run(results.path(), &athena::history(history.path()), &of_files)?;
    let of_objects = [("objects.csv", athena::held("2026-01-02")?)];
    athena::run(results.path(), &athena::table(&folder.join("lake"))?, &of_objects)?;
    let held = |name| std::fs::read_to_string(result(name));
    let (of_files, of_objects) = (held("files.csv")?, held("objects.csv")?);
    ensure!(
        of_files == of_objects && of_files.lines().count() > 10,
        "{of_files}\n{of_objects}"
    );
    let theirs = athena::recounted(result("again.csv"))?;
    same("the recount of unloaded days", &ours, &theirs.rows)?;

    // And so are our own.
    let before = size(&folder.join("lake"))?;
    let partitions = reader.uncompacted(all.arrivals.end).await?;
    ensure!(partitions.len() > 3, "{partitions:?}");
    for partition in partitions {
        reader.compact(partition).await?;
    }
    println!(
        "the lake has {before} bytes, unloaded {}, compacted {}",
        size(history.path())?,
        size(&folder.join("lake"))?
    );
    same(
        "the recount of compacted partitions",
        &recount(&reader, &truth).await?,
        &ours,
    )?;
    ensure!(orphaned == reader.orphaned(&of_hour, all.arrivals.clone(), None, ALL).await?);
    store.close().await;
    Ok(())
}

/// Bytes of all files in a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => size(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

#[test]
fn the_table_of_compacted_days_has_the_columns_that_are_unloaded() -> Result<()> {
    let (mut lake, history) = (athena::columns("ClicksTable")?, athena::columns("HistoryTable")?);
    lake.push(("hr".to_owned(), "string".to_owned()));
    ensure!(history == lake, "{history:?}");
    let select = athena::compaction("2026-01-02")?;
    let (names, _) = select.split_once("FROM").unwrap();
    let names = names.replace("SELECT", "");
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    ensure!(
        names == history.iter().map(|(name, _)| &**name).collect::<Vec<_>>(),
        "{names:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn athenas_statements_and_the_embedded_reader_say_the_same_of_a_lake_of_a_million_clicks() -> Result<()>
{
    agree(tempfile::tempdir()?.path(), 1_000_000).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: five million clicks, some minutes"]
async fn athenas_statements_and_the_embedded_reader_say_the_same_of_a_lake_of_five_million_clicks()
-> Result<()> {
    agree(tempfile::tempdir()?.path(), 5_000_000).await
}
