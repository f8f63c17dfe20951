//! Old days of the lake, which the function makes Parquet. (After what [`crate::sealing`] does: it may see its queries then.)

use anyhow::{Context, Result, ensure};
use clickledger_core::domain::time::Hour;
use clickledger_tests::unload;
use serde_json::{Value, json};

use crate::lake::keys;
use crate::sealing::click;
use crate::world::World;

const RECONCILE: &str = "ReconcileFunctionName";
/// 2026-01-02T07.
const HOUR: Hour = Hour(490_927);
const DAY: &str = "2026-01-02";

pub(crate) fn an_old_day_is_made_parquet_once(world: &World) -> Result<()> {
    let function = world.stack.output(RECONCILE)?;
    let mut body = Vec::new();
    for n in 0..12 {
        body.extend(click(HOUR, 7_100_001, n).to_line()?);
    }
    for object in ["first", "again"] {
        let put = world.stack.aws.s3().put_object();
        let put = put
            .bucket(world.stack.output("BucketName")?)
            .key(format!("lake/dt={DAY}/hr=07/{object}.ndjson"));
        world.stack.wait(put.body(body.clone().into()).send())?;
    }
    let (emulator, account) = world.stack.emulator();
    let unload = unload::start(emulator, account)?;
    let before = world.stack.environment(function)?;
    let mut through = before.clone();
    through.insert("AWS_ENDPOINT_URL_ATHENA".to_owned(), unload.url());
    world.stack.set_environment(function, &through)?;
    let prefix = format!("history/dt={DAY}/");
    let compact = json!({ "task": "compact", "before": "2026-01-03" });
    world.stack.invoke(function, &compact)?;
    let made = keys(world, &prefix)?;
    ensure!(made.len() == 1, "{made:?}; {}", world.warnings());
    let said = world.stack.log("reconcile")?;
    let said: Vec<Value> = said
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|event: &Value| event["message"] == "a day of the lake is Parquet")
        .collect();
    let of_day = said.iter().find(|event| event["day"] == DAY);
    let of_day = of_day.with_context(|| world.warnings())?;
    ensure!(of_day["records"] == 24, "{of_day}");
    // It is known to be what the objects are, so it is not made again.
    world.stack.invoke(function, &compact)?;
    let again = keys(world, &prefix)?;
    ensure!(again == made, "{again:?}");
    world.stack.set_environment(function, &before)
}
