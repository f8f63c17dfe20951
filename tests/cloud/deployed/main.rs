//! The whole template, unmodified, on a local AWS with the functions' own executables, driven over HTTP.
//!
//! A stack takes some ten seconds and each test is a process of its own, so a test is a walk: its steps share one stack and
//! keep apart by ads and advertisers of their own.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test suite: a panic is its way to say no; what it measures is to be seen

mod catalogue;
mod clicks;
mod edge;
mod history;
mod keys;
mod lake;
mod load;
mod logs;
mod quarantine;
mod rotation;
mod sealing;
mod sessions;
mod spill;
mod world;

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::world::World;

type Step = fn(&World) -> Result<()>;

/// What must hold of any deployed stack. The order matters little: the first needs nothing, the last reads what all have left.
const STEPS: [(&str, Step); 16] = [
    (
        "the snapshot holds every ad",
        catalogue::the_snapshot_holds_every_ad,
    ),
    (
        "every verdict",
        clicks::every_verdict_redirects_and_is_counted_by_the_minute,
    ),
    (
        "the page's link",
        clicks::the_link_of_a_placement_leads_to_a_valid_click,
    ),
    ("methods", edge::every_method_does_what_it_says),
    ("problems", edge::what_is_wrong_is_told_as_a_problem),
    (
        "breakdowns",
        clicks::counts_of_campaign_advertiser_placement_and_total_agree,
    ),
    ("the lake", lake::every_click_lies_in_the_lake_once),
    ("tenants", keys::a_tenant_sees_its_own_and_no_more),
    ("the trusted proxy", edge::only_the_trusted_proxy_is_believed),
    ("quarantine", quarantine::garbage_is_put_away_and_counting_goes_on),
    ("operations", sessions::operators_see_how_the_stack_stands),
    (
        "spill",
        spill::a_click_that_the_stream_refuses_is_spilled_settled_and_counted_once,
    ),
    (
        "last resort",
        spill::a_click_that_nothing_takes_is_in_the_log_and_can_be_redriven,
    ),
    (
        "rotation",
        rotation::tokens_of_the_previous_key_are_honoured_and_of_the_one_before_not,
    ),
    (
        "stale snapshot",
        catalogue::an_ad_is_known_from_the_snapshot_alone,
    ),
    ("logs", logs::no_log_holds_anything_personal),
];

/// Steps that wait half a minute each until the functions forget what they know: at the same time.
const LONG_STEPS: [(&str, Step); 2] = [
    (
        "revoked keys",
        keys::a_revoked_key_opens_nothing_and_the_list_says_so,
    ),
    (
        "sessions",
        sessions::a_session_reads_from_every_function_and_changes_nothing,
    ),
];

/// What went wrong in a step, if anything.
fn take(world: &World, (name, step): (&str, Step)) -> Option<String> {
    let started = Instant::now();
    let failed = step(world).err();
    eprintln!("{:5.1} s: {name}", started.elapsed().as_secs_f64());
    failed.map(|error| format!("step {name}: {error:#}\n"))
}

/// Every step, also when one before it has failed.
fn walk(world: &World) -> Result<()> {
    let waited = std::thread::scope(|scope| {
        let waiting = LONG_STEPS.map(|step| scope.spawn(move || take(world, step)));
        waiting.map(|step| step.join().unwrap())
    });
    let taken = STEPS.map(|step| take(world, step));
    let failed: String = waited.into_iter().chain(taken).flatten().collect();
    ensure!(
        failed.is_empty(),
        "{failed}the functions' warnings:\n{}",
        world.warnings()
    );
    Ok(())
}

#[test]
#[ignore = "long: the next one walks the same way, and under policies"]
fn the_deployed_template_counts_every_click_once() -> Result<()> {
    walk(&World::deploy(false, &[])?)
}

#[test]
fn under_the_policies_of_its_roles_and_behind_a_trusted_proxy_it_does_the_same() -> Result<()> {
    let world = World::deploy(true, &["TrustedProxyHops=1"])?;
    walk(&world)?;
    keys::without_its_policy_a_function_can_do_nothing(&world)
}

#[test]
fn damaged_counts_of_an_hour_are_found_and_corrected_by_the_scheduled_function() -> Result<()> {
    // Without enforcement it would prove less: sealing has policies of its own.
    let world = World::deploy(true, &[])?;
    sealing::damaged_counts_are_found_and_corrected(&world)?;
    history::an_old_day_is_made_parquet_once(&world)
}

#[test]
fn load_of_2000_clicks_loses_none_and_counts_none_twice() -> Result<()> {
    let world = World::deploy(true, &[])?;
    load::nothing_is_lost_and_nothing_counted_twice(&world)?;
    catalogue::the_schedule_writes_the_snapshot(&world)
}
