//! A paced stream: how fast it puts records, and that it changes nothing else.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use clickledger_core::ports::{ClickStream, Clock, Outgoing, PortError, PortResult};
use clickledger_core::service::paced::{Pace, Paced};
use clickledger_testkit::virtual_time::VirtualTime;

const PACE: Pace = Pace {
    most_per_s: 200,
    least_per_s: 10,
    step_per_s: 10,
    call: 20,
};

/// A stream that refuses as long as it is told to, and notes what came when.
struct Noting {
    time: VirtualTime,
    full: Mutex<bool>,
    came: Mutex<Vec<(i64, usize)>>,
}

#[async_trait]
impl ClickStream for Noting {
    async fn publish(&self, records: Vec<Outgoing>) -> Vec<PortResult<()>> {
        self.came
            .lock()
            .unwrap()
            .push((self.time.now_ms(), records.len()));
        let full = *self.full.lock().unwrap();
        let outcome = |record: Outgoing| match (full, record.partition_key.as_str()) {
            (true, _) => Err(PortError::unavailable("full")),
            (_, "bad") => Err(PortError::rejected("bad")),
            _ => Ok(()),
        };
        records.into_iter().map(outcome).collect()
    }
}

/// A clock that can be set, and that a sleep moves.
struct SetClock(AtomicI64);

#[async_trait]
impl Clock for SetClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
    async fn sleep(&self, ms: u64) {
        self.0.fetch_add(ms.cast_signed(), Ordering::Relaxed);
    }
}

fn paced() -> (VirtualTime, Arc<Noting>, Paced) {
    let time = VirtualTime::new(0);
    let stream = Arc::new(Noting {
        time: time.clone(),
        full: Mutex::new(false),
        came: Mutex::default(),
    });
    let paced = Paced::new(stream.clone(), Arc::new(time.clone()), PACE);
    (time, stream, paced)
}

fn records(count: usize) -> Vec<Outgoing> {
    let record = |place: usize| Outgoing {
        partition_key: "7#0".to_owned(),
        data: place.to_string().into_bytes(),
    };
    (0..count).map(record).collect()
}

/// How long this many records take.
fn takes(time: &VirtualTime, paced: &Paced, count: usize) -> i64 {
    let before = time.now_ms();
    time.block_on(paced.publish(records(count)));
    time.now_ms() - before
}

#[test]
fn records_go_in_calls_at_the_pace_and_not_faster() {
    let (time, stream, paced) = paced();
    // The first call waits for nobody.
    assert_eq!(takes(&time, &paced, 1_000), 49 * 100);
    let came = stream.came.lock().unwrap().clone();
    assert_eq!(came.len(), 50);
    for (place, (at_ms, count)) in came.into_iter().enumerate() {
        assert_eq!((at_ms, count), (place as i64 * 100, 20));
    }
    // Whoever comes next waits for the call before, and two at a time share the pace.
    let before = time.now_ms();
    time.block_on(async {
        futures_util::join!(paced.publish(records(40)), paced.publish(records(40)));
    });
    assert_eq!(time.now_ms() - before, 400);
}

#[test]
fn a_full_stream_is_left_alone_and_found_out_slowly() {
    let (time, stream, paced) = paced();
    *stream.full.lock().unwrap() = true;
    // 200, 100, 50, 25, 12, 10, 10 … a second.
    let outcomes = time.block_on(paced.publish(records(160)));
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Err(PortError::Unavailable(_))))
    );
    let waits: Vec<i64> = stream
        .came
        .lock()
        .unwrap()
        .windows(2)
        .map(|pair| pair[1].0 - pair[0].0)
        .collect();
    assert_eq!(waits, [100, 200, 400, 800, 1_666, 2_000, 2_000]);

    *stream.full.lock().unwrap() = false;
    stream.came.lock().unwrap().clear();
    time.block_on(paced.publish(records(20 * 30)));
    let waits: Vec<i64> = stream
        .came
        .lock()
        .unwrap()
        .windows(2)
        .map(|pair| pair[1].0 - pair[0].0)
        .collect();
    assert!(waits.is_sorted_by(|a, b| a >= b), "{waits:?}");
    assert_eq!(waits[28], 100, "as fast as before: {waits:?}");
}

#[test]
fn outcomes_are_the_streams_own_in_order() {
    let (time, stream, paced) = paced();
    let mut all = records(50);
    all[33].partition_key = "bad".to_owned();
    let outcomes = time.block_on(paced.publish(all));
    let bad: Vec<usize> = (0..50).filter(|place| outcomes[*place].is_err()).collect();
    assert_eq!(bad, [33]);
    assert_eq!(outcomes.len(), 50);
    // What can never be taken says nothing about the room there is.
    assert_eq!(takes(&time, &paced, 20), 50);
    assert_eq!(stream.came.lock().unwrap().len(), 4);
}

#[test]
fn a_clock_that_is_set_back_stops_nothing() {
    let (time, stream, _) = paced();
    let clock = Arc::new(SetClock(AtomicI64::new(0)));
    let paced = Paced::new(stream, clock.clone(), PACE);
    time.block_on(paced.publish(records(20)));
    clock.0.store(-86_400_000, Ordering::Relaxed);
    time.block_on(paced.publish(records(20)));
    let waited_ms = clock.now_ms() + 86_400_000;
    assert!((0..=10_000).contains(&waited_ms), "{waited_ms} ms");
}
