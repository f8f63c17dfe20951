//! Clicks that the stream does not take.

use anyhow::{Context, Result, ensure};
use clickledger_aws::SpillQueue;
use clickledger_tests::until;
use serde_json::Value;

use crate::lake::wait_for_records;
use crate::world::{PATIENCE, World};

const CLICK: &str = "ClickFunctionName";

/// How often a metric was written with a value above nothing to a function's log.
fn metric(world: &World, function: &str, name: &str) -> Result<f64> {
    let lines = world.stack.log(function)?;
    let events = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(events.filter_map(|event| event[name].as_f64()).sum())
}

pub(crate) fn a_click_that_the_stream_refuses_is_spilled_settled_and_counted_once(
    world: &World,
) -> Result<()> {
    let (_, ad, slot) = world.shown_ad()?;
    let tokens = (0..3)
        .map(|_| Ok(world.show(&slot)?.token))
        .collect::<Result<Vec<_>>>()?;
    let before = world.with_variables(CLICK, &[("CLICKLEDGER_STREAM", "there-is-no-such-stream")])?;
    for token in &tokens {
        World::redirected(&world.click(&ad, Some(token))?)?;
    }
    world.stack.set_environment(world.stack.output(CLICK)?, &before)?;
    world.counted(&ad, &[("valid", 3)])?;
    wait_for_records(world, &ad, 3)?;
    for (function, name) in [
        ("click", "clicks_spilled_total"),
        ("settle", "settled_clicks_total"),
    ] {
        let counted = until("the metric is in the log", PATIENCE, || {
            let counted = metric(world, function, name)?;
            Ok((counted > 0.0).then_some(counted))
        });
        counted.with_context(|| format!("{function} {name}"))?;
    }
    // The impressions are taken: a click on one of them again is a duplicate, wherever its first click had been.
    World::redirected(&world.click(&ad, Some(&tokens[0]))?)?;
    world.counted(&ad, &[("valid", 3), ("duplicate", 1)]).map(drop)
}

fn is_of(line: &[u8], ad: &str) -> bool {
    serde_json::from_slice::<Value>(line).is_ok_and(|record| record["ad_id"] == *ad)
}

pub(crate) fn a_click_that_nothing_takes_is_in_the_log_and_can_be_redriven(world: &World) -> Result<()> {
    let (_, ad, slot) = world.shown_ad()?;
    let token = world.show(&slot)?.token;
    let queue = world.stack.output("SpillQueueUrl")?;
    let before = world.with_variables(
        CLICK,
        &[
            ("CLICKLEDGER_STREAM", "there-is-no-such-stream"),
            (
                "CLICKLEDGER_SPILL_QUEUE_URL",
                &format!("{queue}-there-is-no-such-queue"),
            ),
        ],
    )?;
    World::redirected(&world.click(&ad, Some(&token))?)?;
    world.stack.set_environment(world.stack.output(CLICK)?, &before)?;
    // On a busy machine other clicks may have ended there too.
    let body = until("the record is in the log", PATIENCE, || {
        let mut bodies = world.last_resort()?.into_iter();
        Ok(bodies.find(|body| SpillQueue::record(body).is_ok_and(|record| is_of(&record.data, &ad))))
    })?;
    let records = wait_for_records(world, &ad, 0)?;
    ensure!(records.is_empty(), "{records:?}");
    // Twice, as an operator may: counted once.
    for _ in 0..2 {
        let put = world
            .stack
            .aws
            .sqs()
            .send_message()
            .queue_url(queue)
            .message_body(&body);
        world.stack.wait(put.send())?;
    }
    world.counted(&ad, &[("valid", 1)])?;
    wait_for_records(world, &ad, 1).map(drop)
}
