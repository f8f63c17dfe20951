use std::sync::atomic::AtomicUsize;

use futures_util::future::{Either, join_all, select};

use super::*;

const START_MS: i64 = 1_767_312_000_000;

type Log = Arc<Mutex<Vec<(i64, &'static str)>>>;

fn note(log: &Log, time: &VirtualTime, what: &'static str) {
    lock(log).push((time.now_ms() - START_MS, what));
}

fn started() -> (VirtualTime, Log) {
    (VirtualTime::new(START_MS), Log::default())
}

/// A task that sleeps these many milliseconds one after another and notes each waking.
fn sleeper(time: &VirtualTime, log: &Log, name: &'static str, naps: &'static [u64]) {
    let (clock, log) = (time.clone(), Arc::clone(log));
    time.spawn(async move {
        for nap in naps {
            clock.sleep(*nap).await;
            note(&log, &clock, name);
        }
    });
}

fn logged(log: &Log) -> Vec<(i64, &'static str)> {
    lock(log).clone()
}

#[test]
fn timers_fire_in_their_order_and_ties_as_registered() {
    let (time, log) = started();
    sleeper(&time, &log, "a", &[30, 10]);
    sleeper(&time, &log, "b", &[10, 20, 10]);
    sleeper(&time, &log, "c", &[40]);
    time.run();
    assert_eq!(
        logged(&log),
        [(10, "b"), (30, "a"), (30, "b"), (40, "c"), (40, "a"), (40, "b")]
    );
    assert_eq!(time.tasks(), 0);
}

#[test]
fn ready_tasks_take_turns() {
    let (time, log) = started();
    for name in ["a", "b", "c"] {
        sleeper(&time, &log, name, &[0, 0]);
    }
    time.run();
    let order: Vec<_> = logged(&log).into_iter().map(|(_, name)| name).collect();
    assert_eq!(order, ["a", "b", "c", "a", "b", "c"]);
    assert_eq!(time.now_ms(), START_MS, "yielding takes no time");
}

#[test]
fn running_until_a_time_includes_it_and_stops_there() {
    let (time, log) = started();
    sleeper(&time, &log, "a", &[10, 10, 10]);
    time.run_until(START_MS + 9);
    assert_eq!((logged(&log).len(), time.now_ms()), (0, START_MS + 9));
    time.run_until(START_MS + 20);
    assert_eq!((logged(&log).len(), time.now_ms()), (2, START_MS + 20));
    time.run_until(START_MS + 5);
    assert_eq!(time.now_ms(), START_MS + 20, "time does not go back");
    time.run_until(START_MS + 1_000);
    assert_eq!((logged(&log).len(), time.now_ms()), (3, START_MS + 1_000));
}

#[test]
fn spawned_at_a_time_begins_then() {
    let (time, log) = started();
    for (at, name) in [(50, "late"), (-5, "past"), (20, "soon")] {
        let (clock, log) = (time.clone(), Arc::clone(&log));
        time.spawn_at(START_MS + at, async move { note(&log, &clock, name) });
    }
    time.run();
    assert_eq!(logged(&log), [(0, "past"), (20, "soon"), (50, "late")]);
}

#[test]
fn blocking_drives_the_others_too_and_leaves_them_where_they_are() {
    let (time, log) = started();
    sleeper(&time, &log, "a", &[10, 10, 10]);
    let answer = time.block_on(async {
        time.sleep(20).await;
        42
    });
    assert_eq!((answer, time.now_ms()), (42, START_MS + 20));
    // Of the two timers at 20 the future's was registered first.
    assert_eq!(logged(&log), [(10, "a")]);
    time.run();
    assert_eq!(logged(&log).len(), 3);
}

#[test]
fn tasks_spawned_within_tasks_run() {
    let (time, log) = started();
    let (clock, notes) = (time.clone(), Arc::clone(&log));
    time.spawn(async move {
        clock.sleep(5).await;
        for name in ["x", "y"] {
            let (clock, notes) = (clock.clone(), Arc::clone(&notes));
            clock.clone().spawn(async move {
                clock.sleep(5).await;
                note(&notes, &clock, name);
            });
        }
    });
    time.run();
    assert_eq!(logged(&log), [(10, "x"), (10, "y")]);
}

#[test]
fn dropped_sleep_moves_no_clock() {
    let time = VirtualTime::new(START_MS);
    let first = time.block_on(async {
        let (short, long) = (pin!(time.sleep(10)), pin!(time.sleep(5_000)));
        matches!(select(long, short).await, Either::Right(_))
    });
    assert!(first);
    time.run();
    assert_eq!(time.now_ms(), START_MS + 10);
}

#[test]
fn cancelled_task_ends_where_it_waits() {
    struct Noted(Arc<AtomicUsize>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (time, log) = started();
    let dropped = Arc::new(AtomicUsize::new(0));
    let (clock, notes, guard) = (time.clone(), Arc::clone(&log), Noted(Arc::clone(&dropped)));
    let task = time.spawn(async move {
        let _guard = guard;
        clock.sleep(10).await;
        note(&notes, &clock, "before");
        clock.sleep(10).await;
        note(&notes, &clock, "after");
    });
    time.run_until(START_MS + 15);
    assert!(!task.is_finished());
    task.cancel();
    assert!(task.is_finished());
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    time.run();
    assert_eq!(logged(&log), [(10, "before")]);
    assert_eq!(time.now_ms(), START_MS + 15, "its timer has gone with it");
    // Its slot is another's now, whom the old handle does not reach.
    sleeper(&time, &log, "next", &[1]);
    task.cancel();
    time.run();
    assert_eq!(logged(&log).last(), Some(&(16, "next")));
}

#[test]
fn stopping_drops_every_task() {
    let (time, log) = started();
    let weak = Arc::downgrade(&time.shared);
    for name in ["a", "b"] {
        sleeper(&time, &log, name, &[10, 10]);
    }
    time.run_until(START_MS + 10);
    time.stop();
    assert_eq!(time.tasks(), 0);
    time.run();
    assert_eq!(logged(&log), [(10, "a"), (10, "b")]);
    drop(time);
    assert!(weak.upgrade().is_none(), "nothing keeps it alive");
}

#[test]
#[should_panic(expected = "nothing is left that could wake it")]
fn waiting_for_nothing_is_found_out() {
    VirtualTime::new(0).block_on(std::future::pending::<()>());
}

#[test]
#[should_panic(expected = "driven already")]
fn driving_from_within_a_task_is_refused() {
    let time = VirtualTime::new(0);
    time.block_on(async { time.run() });
}

#[test]
fn crash_happens_at_an_await_and_at_no_other_place() {
    let time = VirtualTime::new(START_MS);
    let steps = |crash_at: usize| {
        let (asked, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let chance: CrashChance = {
            let asked = Arc::clone(&asked);
            Arc::new(move || asked.fetch_add(1, Ordering::Relaxed) == crash_at)
        };
        let work = async {
            for _ in 0..3 {
                done.fetch_add(1, Ordering::Relaxed);
                time.sleep(10).await;
            }
            done.load(Ordering::Relaxed)
        };
        let outcome = time.block_on(crashing(work, chance));
        (outcome, done.load(Ordering::Relaxed))
    };
    assert_eq!(steps(0), (Err(Crashed), 1));
    assert_eq!(steps(2), (Err(Crashed), 3));
    assert_eq!(steps(3), (Ok(3), 3));
}

#[test]
fn same_program_runs_the_same_each_time() {
    let run = || {
        let time = VirtualTime::new(START_MS);
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks = (0_u64..50).map(|n| {
            let (time, order) = (time.clone(), Arc::clone(&order));
            async move {
                for step in 0..20 {
                    time.sleep((n * 7 + step * 13) % 11).await;
                    lock(&order).push((n, step, time.now_ms()));
                }
            }
        });
        // Some as tasks, some joined in one.
        for task in tasks.clone().take(25) {
            time.spawn(task);
        }
        time.block_on(join_all(tasks.skip(25)));
        time.run();
        lock(&order).clone()
    };
    let first = run();
    assert_eq!(first.len(), 1_000);
    assert_eq!(first, run());
}
