//! The real `aggregate` under an event source mapping of our own: redelivered, re-cut, bisected and partially failed batches;
//! throttled, timed-out, late and applied-but-answer-lost writes; processes killed in mid-batch. The counts must be exact.
//!
//! `CLICKLEDGER_DRIVER_SEEDS` says how many seeds are played (20), `CLICKLEDGER_SEED` plays just one of them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // a test suite: a panic is its way to say no

mod driver;
#[path = "../../../shared/aws/tests/resources/mod.rs"]
#[allow(unreachable_pub, dead_code)] // not every suite uses all of it
mod resources;
mod run;
mod stored;
mod traffic;
mod truth;
mod weather;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clickledger_tests::emulator;

use crate::driver::Told;
use crate::weather::Broken;

const SEEDS: u64 = 20;
/// In how many seeds a broken rule must be found.
const BROKEN_SEEDS: u64 = 5;
/// Seeds that are played at the same time: they mostly wait.
const AT_ONCE: u64 = 8;

#[allow(clippy::disallowed_methods)] // the test's own settings, as scripts/test gives them
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays the seeds, several at the same time; answers those that came out wrong, and what happened in all of them.
fn play(first: u64, count: u64) -> (Vec<(u64, Vec<String>)>, Told) {
    let (mut wrong, mut told) = (Vec::new(), Told::default());
    // Each of its accounts makes the emulator slower for the next ones.
    for from in (first..first + count).step_by(SEEDS as usize) {
        let emulator = emulator::Emulator::shared().unwrap();
        let (some_wrong, some_told) = play_at_once(from, (first + count).min(from + SEEDS));
        wrong.extend(some_wrong);
        told.add(&some_told);
        drop(emulator);
    }
    wrong.sort_unstable();
    (wrong, told)
}

fn play_at_once(first: u64, end: u64) -> (Vec<(u64, Vec<String>)>, Told) {
    let (next, wrong, told) = (
        AtomicU64::new(first),
        Mutex::new(Vec::new()),
        Mutex::new(Told::default()),
    );
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(end - first) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let played = run::run(seed, None);
                    eprintln!("seed {seed}, {:.0} s: {}", played.took.as_secs_f64(), played.told);
                    lock(&told).add(&played.told);
                    if !played.wrong.is_empty() {
                        lock(&wrong).push((seed, played.wrong));
                    }
                }
            });
        }
    });
    (wrong.into_inner().unwrap(), told.into_inner().unwrap())
}

#[test]
fn counts_are_exact_on_every_seed() {
    let (first, count) = match setting("CLICKLEDGER_SEED") {
        Some(seed) => (seed, 1),
        None => (0, setting("CLICKLEDGER_DRIVER_SEEDS").unwrap_or(SEEDS)),
    };
    let (mut wrong, mut told) = play(first, count);
    // What is rare may not have happened yet.
    if count >= SEEDS && wrong.is_empty() && !told.missing().is_empty() {
        let (more_wrong, more_told) = play(first + count, SEEDS);
        wrong.extend(more_wrong);
        told.add(&more_told);
    }
    let words: Vec<String> = wrong
        .iter()
        .map(|(seed, what)| format!("seed {seed}:\n  {}", what.join("\n  ")))
        .collect();
    assert!(
        wrong.is_empty(),
        "play one again with CLICKLEDGER_SEED\n{}",
        words.join("\n")
    );
    eprintln!("{count} seeds, 0 wrong: {told}");
    if count >= SEEDS {
        assert_eq!(told.missing(), Vec::<&str>::new(), "never happened");
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    let emulator = emulator::Emulator::shared().unwrap();
    let missed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for rule in Broken::ALL {
            let missed = &missed;
            scope.spawn(move || {
                let found = (0..BROKEN_SEEDS).find_map(|seed| {
                    let wrong = run::run(seed, Some(rule)).wrong;
                    let what = wrong.into_iter().find(|what| what.contains(rule.shows()));
                    what.map(|what| (seed, what))
                });
                match found {
                    Some((seed, what)) => eprintln!("{rule:?} found with seed {seed}: {what}"),
                    None => lock(missed).push(rule),
                }
            });
        }
    });
    drop(emulator);
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not found in {BROKEN_SEEDS} seeds: {missed:?}");
}
