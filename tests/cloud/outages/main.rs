//! Services that cannot be reached: what users see meanwhile, and what is counted afterwards.
//!
//! The real `click`, `settle`, `aggregate` and `maintain`, each a process on a Runtime API of its own; the emulator behind a
//! proxy for each service that fails. Kinesis, DynamoDB, then both; connections refused, requests that nobody answers, requests
//! that are done and never answered; processes that were there before, and processes that start in the middle of it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // a test suite; and what it measures is to be seen

mod counting;
mod credentials;
mod held_up;
#[path = "../../../shared/aws/tests/resources/mod.rs"]
#[allow(unreachable_pub, dead_code)] // shared with suites that use other parts of it
mod resources;
mod world;

use std::time::Duration;

use clickledger_aws::SpillQueue;
use clickledger_core::domain::ids::{AdId, ClickId, ImpressionId};
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::ports::Outgoing;
// What the shared file names by this path.
use clickledger_tests::emulator;
use serde_json::Value;

use crate::world::{Clicked, Door, How, World, now_ms};

/// A copy that arrives so much after its click is late; the limit is 5 minutes.
const LATE_MS: i64 = 6 * 60_000;

fn longest(clicks: &[Clicked]) -> Duration {
    clicks.iter().map(|click| click.took).max().unwrap_or_default()
}

/// Clicks before, in and after an outage of these services, each way that one can be; then everything is counted.
fn every_click_is_redirected_and_counted_once(what: &str, of: fn(&World) -> Vec<&Door>) {
    let world = World::new();
    let ads: Vec<AdId> = How::ALL.iter().map(|_| world.create_ad()).collect();
    world.write_snapshot();
    let warm = world.start("click");
    for (how, ad) in How::ALL.into_iter().zip(ads) {
        world.click(&warm, ad, &world.token(ad)).redirected();
        let doors = of(&world);
        for door in &doors {
            door.shut(how);
        }
        let first = world.token(ad);
        let tokens = [first.clone(), world.token(ad), first];
        let warm_clicks = tokens.map(|token| world.click(&warm, ad, &token));
        let mut cold_clicks = Vec::new();
        for _ in 0..2 {
            let (cold, click) = world.cold_click(ad, &world.token(ad));
            cold_clicks.push(click);
            cold_clicks.push(world.click(&cold, ad, &world.token(ad)));
        }
        for door in &doors {
            door.open();
        }
        world.click(&warm, ad, &world.token(ad)).redirected();
        eprintln!(
            "{what} {how:?}: longest {:?} warm, {:?} cold",
            longest(&warm_clicks),
            longest(&cold_clicks)
        );
        for click in warm_clicks.iter().chain(&cold_clicks) {
            click.redirected();
            click.in_time();
        }
    }
    world.settle();
    world.assert_counted();
}

#[test]
fn with_kinesis_unreachable_every_click_is_redirected_and_counted_once() {
    every_click_is_redirected_and_counted_once("Kinesis", |world| vec![&world.kinesis]);
}

#[test]
fn with_dynamodb_unreachable_every_click_is_redirected_and_counted_once() {
    every_click_is_redirected_and_counted_once("DynamoDB", |world| vec![&world.dynamodb]);
}

#[test]
fn with_both_unreachable_every_click_is_redirected_and_counted_once() {
    every_click_is_redirected_and_counted_once("both", |world| vec![&world.kinesis, &world.dynamodb]);
}

/// The snapshot can't be written while DynamoDB is down: after a while it is asked first, in vain.
#[test]
fn with_both_unreachable_and_a_snapshot_of_minutes_ago_every_click_is_redirected() {
    let world = World::new();
    let ad = world.create_ad();
    world.write_snapshot();
    world.age_snapshot(5 * 60_000);
    let warm = world.start("click");
    for how in How::ALL {
        for door in [&world.kinesis, &world.dynamodb] {
            door.shut(how);
        }
        let clicks = [
            world.click(&warm, ad, &world.token(ad)),
            world.cold_click(ad, &world.token(ad)).1,
        ];
        for door in [&world.kinesis, &world.dynamodb] {
            door.open();
        }
        eprintln!(
            "both, old snapshot, {how:?}: {:?} warm, {:?} cold",
            clicks[0].took, clicks[1].took
        );
        for click in clicks {
            click.redirected();
            click.in_time();
        }
    }
    world.settle();
    world.assert_counted();
}

/// The click waits in the spill until it is late. Its hour's live counts are without it and say so; sealing finds it in the lake,
/// which holds whatever the stream holds.
#[test]
fn a_click_that_waited_too_long_is_on_the_stream_and_its_hour_is_dirty() {
    let world = World::new();
    let ad = world.create_ad();
    world.write_snapshot();
    let click = world.start("click");
    world.kinesis.shut(How::Refused);
    world.click(&click, ad, &world.token(ad)).redirected();
    world.kinesis.open();

    // The same click, had it been made minutes ago.
    let [spilled] = world.spilled().try_into().unwrap();
    let mut record: ClickRecord =
        serde_json::from_slice(&SpillQueue::record(&spilled.body).unwrap().data).unwrap();
    let clicked_at_ms = now_ms() - LATE_MS;
    record.clicked_at_ms = clicked_at_ms;
    record.click_id = ClickId::new(clicked_at_ms, [1; 10]);
    record.impression_id = Some(ImpressionId::new(clicked_at_ms - 900, [2; 10]));
    let late = Outgoing {
        partition_key: record.partition_key.clone(),
        data: record.to_line().unwrap(),
    };
    world.send_to_spill(&SpillQueue::body(&late).unwrap());
    world.send_to_spill(&spilled.body);
    world.delete(&spilled);
    world.settle();

    let hour = Hour::of(clicked_at_ms);
    assert!(!world.dirty(hour));
    world.count();
    assert!(world.dirty(hour));
    assert!(world.stream().iter().any(|(_, record)| record.data == late.data));
    let of_late = Minute::of(clicked_at_ms);
    let counted = world.counted(ad);
    assert_eq!(counted.values().sum::<u64>(), 1, "{counted:?}");
    assert!(!counted.contains_key(&of_late), "{counted:?}");
}

#[test]
fn a_click_that_stream_and_spill_refuse_is_in_the_log_and_can_be_put_back() {
    let world = World::new();
    let ad = world.create_ad();
    world.write_snapshot();
    let click = world.start("click");
    for how in How::ALL {
        for door in [&world.kinesis, &world.sqs] {
            door.shut(how);
        }
        let clicked = world.click(&click, ad, &world.token(ad));
        for door in [&world.kinesis, &world.sqs] {
            door.open();
        }
        clicked.redirected();
        eprintln!("stream and spill {how:?}: {:?}", clicked.took);
        clicked.in_time();
    }
    let kept: Vec<String> =
        clickledger_tests::until("the log has the records", Duration::from_secs(10), || {
            let lines = click.lines();
            let events = lines
                .iter()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let kept: Vec<String> = events
                .filter_map(|event| event["last_resort_record"].as_str().map(str::to_owned))
                .collect();
            Ok((kept.len() == How::ALL.len()).then_some(kept))
        })
        .unwrap();
    for body in kept {
        world.send_to_spill(&body);
    }
    world.settle();
    world.assert_counted();
}

#[test]
fn an_ad_that_nobody_knows_while_dynamodb_is_down_is_answered_503() {
    let world = World::new();
    world.create_ad();
    world.write_snapshot();
    let click = world.start("click");
    let new = world.create_ad();
    for how in How::ALL {
        world.dynamodb.shut(how);
        let clicked = world.click(&click, new, &world.token(new));
        world.dynamodb.open();
        assert_eq!(clicked.answer["statusCode"], 503, "{how:?}: {:?}", clicked.answer);
        assert_eq!(clicked.answer["headers"]["retry-after"], "1");
        clicked.in_time();
    }
    world.click(&click, new, &world.token(new)).redirected();
}
