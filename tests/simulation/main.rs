//! The simulation: seeded schedules of clicks, repeats, crashes, outages, lost answers, reshards and replays, played by the
//! real services over faulty in-memory adapters on virtual time; what comes out is held against what is true.
//!
//! `CLICKLEDGER_SCHEDULES` says how many schedules are played (2,000), `CLICKLEDGER_SEED` plays just one of them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // a test suite: a panic is its way to say no

mod run;
mod schedule;
mod truth;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clickledger_core::domain::mutation::{Broken, Mutation};

const SCHEDULES: u64 = 2000;
/// In how many schedules a broken rule must be found.
const MUTANT_SCHEDULES: u64 = 6000;

#[allow(clippy::disallowed_methods)] // the test's own settings, as scripts/test gives them
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

/// Plays the seeds from `first` on, on all cores, until there are `enough` wrong ones; answers those in the order of their
/// seeds.
fn play(first: u64, count: u64, mutation: Mutation, enough: usize) -> Vec<(u64, Vec<String>)> {
    let (next, wrong) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let found = run::run(seed, mutation);
                    let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
                    if !found.is_empty() {
                        wrong.push((seed, found));
                    }
                    if wrong.len() >= enough {
                        return;
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    wrong.sort_unstable_by_key(|(seed, _)| *seed);
    wrong
}

#[test]
fn no_schedule_gives_a_wrong_count() {
    let (first, count) = match setting("CLICKLEDGER_SEED") {
        Some(seed) => (seed, 1),
        None => (0, setting("CLICKLEDGER_SCHEDULES").unwrap_or(SCHEDULES)),
    };
    let wrong = play(first, count, Mutation::default(), 3);
    let told: Vec<String> = wrong
        .iter()
        .map(|(seed, what)| format!("seed {seed}:\n  {}", what.join("\n  ")))
        .collect();
    assert!(
        wrong.is_empty(),
        "play one again with CLICKLEDGER_SEED\n{}",
        told.join("\n")
    );
    eprintln!("{count} schedules, 0 wrong");
}

#[test]
fn every_broken_rule_gives_a_wrong_count() {
    let mut missed = Vec::new();
    for rule in Broken::ALL {
        let wrong = play(0, MUTANT_SCHEDULES, Mutation::of(Some(*rule)), 1);
        match wrong.first() {
            Some((seed, what)) => eprintln!("{:<24} found with seed {seed}: {}", rule.as_str(), what[0]),
            None => missed.push(rule.as_str()),
        }
    }
    assert!(
        missed.is_empty(),
        "not found in {MUTANT_SCHEDULES} schedules: {missed:?}"
    );
}
