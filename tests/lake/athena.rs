//! The statements of `infra/athena`, filled in and run by DuckDB, and their results.
//!
//! Invariant: the statements are the files' own; the table's columns are those of the template.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId};
use clickledger_core::domain::record::CountedClick;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::ports::{LakeClick, LakeSlice, RecountRow};
use clickledger_tests::emulator;
use csv::StringRecord;
use serde_json::{Value, json};

use crate::cloudformation::{template, text};

/// What a bare string means in the order of its bytes; as the adapter orders ids.
pub(crate) const ORDER: &str = "translate(click_id, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_', \
     '-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz')";

fn statement(name: &str) -> String {
    let text = text(&format!("infra/athena/{name}.sql"));
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The condition of these partitions.
pub(crate) fn partitions(arrivals: &Range<Hour>) -> Result<String> {
    let mut hours = Vec::new();
    for hour in arrivals.start.0..arrivals.end.0 {
        let start = jiff::Timestamp::from_millisecond(Hour(hour).start_ms())?;
        hours.push(start.strftime("(dt = '%Y-%m-%d' AND hr = '%H')").to_string());
    }
    Ok(format!("({})", hours.join(" OR ")))
}

/// A statement with its places filled in.
pub(crate) fn filled(name: &str, slice: &LakeSlice, places: &[(&str, &str)]) -> Result<String> {
    let (from_ms, to_ms) = slice
        .clicked
        .map_or((0, i64::MAX), |hour| (hour.start_ms(), hour.end_ms()));
    let mut sql = statement(name);
    let common = [
        ("clicks", "clicks".to_owned()),
        ("owner_clicks", "clicks".to_owned()),
        ("partitions", partitions(&slice.arrivals)?),
        ("counted", statement("counted")),
        ("from_ms", from_ms.to_string()),
        ("to_ms", to_ms.to_string()),
        ("order", ORDER.to_owned()),
    ];
    let given = places.iter().map(|(place, value)| (*place, (*value).to_owned()));
    for (place, value) in given.chain(common) {
        sql = sql.replace(&format!("{{{place}}}"), &value);
    }
    ensure!(!sql.contains(['{', '}']), "a place is left: {sql}");
    Ok(sql)
}

/// The lake's table as the template has it, over the objects of this folder.
pub(crate) fn table(lake: &Path) -> Result<String> {
    let mut described = String::new();
    for (name, kind) in columns("ClicksTable")? {
        let kind = match &*kind {
            "string" => "VARCHAR",
            "int" => "INTEGER",
            "bigint" => "BIGINT",
            "boolean" => "BOOLEAN",
            other => bail!("{other:?} is no type that a lake's column has"),
        };
        write!(described, "{name}: '{kind}', ")?;
    }
    Ok(format!(
        "SELECT * FROM read_ndjson('{}/*/*/*.ndjson.gz', columns = {{{}}}, hive_partitioning = true, \
         hive_types_autocast = false, ignore_errors = true)",
        lake.display(),
        described.trim_end_matches(", ")
    ))
}

/// The SELECT of the statement that makes a day's arrivals Parquet. What stands around it is Athena's own.
pub(crate) fn compaction(day: &str) -> Result<String> {
    let whole = statement("compact").replace("{day}", day);
    let select = whole.strip_prefix("UNLOAD (\n").context("UNLOAD (")?;
    let (select, rest) = select.split_once("\n)\n").context("the end of the SELECT")?;
    ensure!(
        rest == "TO '{location}'\nWITH (format = 'PARQUET', compression = 'ZSTD')",
        "{rest}"
    );
    Ok(select.to_owned())
}

/// The statement that says what a day holds, of whatever the table `clicks` is.
pub(crate) fn held(day: &str) -> Result<String> {
    let sql = statement("held")
        .replace("{day}", day)
        .replace("{form}", "clicks");
    ensure!(!sql.contains(['{', '}']), "a place is left: {sql}");
    Ok(sql)
}

/// The table of compacted days, over the files of this folder.
pub(crate) fn history(folder: &Path) -> String {
    format!(
        "SELECT * FROM read_parquet('{}/*/*.parquet', hive_partitioning = true, hive_types_autocast = false)",
        folder.display()
    )
}

/// The names and types of a table's columns in the template.
pub(crate) fn columns(table: &str) -> Result<Vec<(String, String)>> {
    let lake = template("infra/lake.yaml");
    let columns = &lake["Resources"][table]["Properties"]["TableInput"]["StorageDescriptor"]["Columns"];
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a column");
    let columns = columns
        .as_array()
        .with_context(|| format!("{table} has no columns"))?;
    columns
        .iter()
        .map(|column| Ok((text(&column["Name"])?, text(&column["Type"])?)))
        .collect()
}

/// Runs queries over the table `clicks` that `source` is; the results lie in files of this folder, by the queries' names.
pub(crate) fn run(folder: &Path, source: &str, queries: &[(&str, String)]) -> Result<()> {
    let of = |(name, sql): &(&str, String)| {
        let form = if name.ends_with(".parquet") {
            "FORMAT parquet, COMPRESSION zstd"
        } else {
            "FORMAT csv, HEADER"
        };
        json!({ "sql": sql, "to": folder.join(name), "form": form })
    };
    let request = json!({ "source": source, "queries": queries.iter().map(of).collect::<Vec<Value>>() });
    for (name, _) in queries {
        if let Some(parent) = folder.join(name).parent() {
            std::fs::create_dir_all(parent)?;
        }
    }
    let file = folder.join("request.json");
    std::fs::write(&file, request.to_string())?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lake/athena.py");
    let output = Command::new(emulator::python()?)
        .arg(script)
        .stdin(Stdio::from(std::fs::File::open(&file)?))
        .output()
        .context("DuckDB")?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    ensure!(
        output.status.success(),
        "DuckDB: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A result's lines.
pub(crate) fn lines(path: PathBuf) -> Result<impl Iterator<Item = Result<StringRecord>>> {
    let reader = csv::Reader::from_path(path)?;
    Ok(reader.into_records().map(|record| Ok(record?)))
}

/// A field; `None`: null.
pub(crate) fn field<T: std::str::FromStr>(line: &StringRecord, place: usize) -> Result<Option<T>>
where
    T::Err: std::fmt::Debug,
{
    match line.get(place) {
        None => bail!("{line:?} has no field {place}"),
        Some("") => Ok(None),
        Some(text) => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => bail!("{text:?}: {error:?}"),
        },
    }
}

fn must<T: std::str::FromStr>(line: &StringRecord, place: usize) -> Result<T>
where
    T::Err: std::fmt::Debug,
{
    field(line, place)?.with_context(|| format!("{line:?}: field {place} is null"))
}

fn device(line: &StringRecord, place: usize) -> Result<Device> {
    let text = line.get(place).unwrap_or_default();
    let found = Device::ALL.into_iter().find(|device| device.as_str() == text);
    found.with_context(|| format!("{text:?} is no device"))
}

/// What `recount.sql` answers, put together.
#[derive(Debug, Default)]
pub(crate) struct Recounted {
    pub(crate) rows: Vec<RecountRow>,
    /// Clicks and copies of each kind of entity (1 to 6).
    pub(crate) sums: Vec<(u64, u64)>,
}

pub(crate) fn recounted(path: PathBuf) -> Result<Recounted> {
    let mut found = Recounted::default();
    for line in lines(path)? {
        let line = line?;
        let (kind, clicks, copies): (u8, u64, u64) = (must(&line, 0)?, must(&line, 7)?, must(&line, 8)?);
        let Some(id) = field::<u64>(&line, 1)? else {
            found.sums.push((clicks, copies));
            ensure!(
                usize::from(kind) == found.sums.len(),
                "kind {kind} is out of order"
            );
            continue;
        };
        let entity = match kind {
            1 => Entity::Ad(AdId(id)),
            2 => Entity::Campaign(CampaignId(id)),
            3 => Entity::Advertiser(AdvertiserId(id)),
            4 => Entity::Placement(PlacementId(id)),
            6 => Entity::AdvertiserPlacement(AdvertiserId(id), PlacementId(must(&line, 2)?)),
            _ => Entity::Total,
        };
        let minute = Minute::of(must(&line, 3)?);
        let counter = match line.get(4) {
            Some("unclaimed") => None,
            Some("valid") => {
                let country: Country = must(&line, 6)?;
                Some(CounterKey::of(must(&line, 4)?, device(&line, 5)?, country))
            }
            _ => Some(CounterKey::of(must(&line, 4)?, Device::Unknown, Country::ZZ)),
        };
        if found.rows.last().map(|row| (row.entity, row.minute)) != Some((entity, minute)) {
            found.rows.push(RecountRow {
                entity,
                minute,
                counters: Counters::default(),
                clicks: 0,
                rows: 0,
            });
        }
        let row = found.rows.last_mut().context("a row")?;
        if let Some(counter) = counter {
            row.counters.add(counter, clicks);
        }
        row.clicks += clicks;
        row.rows += copies;
    }
    Ok(found)
}

/// What `clicks.sql` and `orphaned.sql` answer.
pub(crate) fn clicks(path: PathBuf) -> Result<Vec<LakeClick>> {
    let click = |line: Result<StringRecord>| {
        let line = line?;
        Ok(LakeClick {
            click: CountedClick {
                click_id: must(&line, 0)?,
                impression_id: field(&line, 1)?,
                ad_id: must(&line, 2)?,
                campaign_id: must(&line, 3)?,
                advertiser_id: must(&line, 4)?,
                placement_id: field(&line, 5)?,
                clicked_at_ms: must(&line, 6)?,
                verdict: must(&line, 7)?,
                claimed: must(&line, 8)?,
                device: device(&line, 9)?,
                country: must(&line, 10)?,
            },
            duplicate_of: field(&line, 11)?,
        })
    };
    lines(path)?.map(click).collect()
}
