//! [`Leases`]: one holder at a time, and a fence that tells every holder from the one before.

use clickledger_core::ports::{Job, Lease, Leases};
use futures_util::future::join_all;

use super::{NOW_MS, unique};

const UNTIL_MS: i64 = NOW_MS + 60_000;

fn job() -> Job {
    Job::Hour(unique::day().first_hour())
}

async fn taken(leases: &dyn Leases, job: Job, holder: &str, now_ms: i64) -> Lease {
    let lease = leases.take(job, holder, now_ms, now_ms + 60_000).await.unwrap();
    lease.unwrap()
}

/// Others wait until its time is over; then they get it, with a higher fence and the note.
pub async fn job_is_handed_on_when_its_time_is_over(leases: &dyn Leases) {
    let job = job();
    let first = taken(leases, job, "first", NOW_MS).await;
    assert_eq!(
        (first.job, first.holder.as_str(), &first.note),
        (job, "first", &None)
    );
    for now_ms in [NOW_MS, UNTIL_MS - 1] {
        assert_eq!(leases.take(job, "second", now_ms, i64::MAX).await.unwrap(), None);
    }
    assert!(leases.keep(&first, UNTIL_MS, Some("so far")).await.unwrap());
    let second = taken(leases, job, "second", UNTIL_MS).await;
    assert!(second.fence > first.fence);
    assert_eq!(second.note.as_deref(), Some("so far"));
    assert_eq!(
        leases.take(job, "first", UNTIL_MS, i64::MAX).await.unwrap(),
        None,
        "now it is the other's"
    );
}

/// Applied, answer lost, retried; also after its time, if nobody came in between.
pub async fn taking_again_answers_the_same_lease(leases: &dyn Leases) {
    let job = job();
    let first = taken(leases, job, "first", NOW_MS).await;
    assert_eq!(taken(leases, job, "first", NOW_MS).await, first);
    assert_eq!(taken(leases, job, "first", UNTIL_MS + 1).await, first);
    assert_eq!(
        leases.take(job, "second", UNTIL_MS + 2, i64::MAX).await.unwrap(),
        None,
        "taking again prolongs"
    );
}

/// Many ask at once, also for one whose time is over: one has it.
pub async fn concurrent_takers_get_one_lease(leases: &dyn Leases) {
    let job = job();
    let mut fences = Vec::new();
    for now_ms in [NOW_MS, UNTIL_MS] {
        let holders: Vec<String> = (0..16).map(|n| format!("{n} at {now_ms}")).collect();
        let asked = holders
            .iter()
            .map(|holder| leases.take(job, holder, now_ms, now_ms + 60_000));
        let got: Vec<Lease> = join_all(asked)
            .await
            .into_iter()
            .filter_map(Result::unwrap)
            .collect();
        assert_eq!(got.len(), 1, "{got:?}");
        fences.push(got[0].fence);
    }
    assert!(fences[0] < fences[1]);
}

/// A zombie learns that it is one, and leaves no trace.
pub async fn holder_that_was_overtaken_changes_nothing(leases: &dyn Leases) {
    let job = job();
    let zombie = taken(leases, job, "zombie", NOW_MS).await;
    let heir = taken(leases, job, "heir", UNTIL_MS).await;
    assert!(leases.keep(&heir, i64::MAX, Some("the heir's")).await.unwrap());
    assert!(
        !leases
            .keep(&zombie, i64::MAX, Some("the zombie's"))
            .await
            .unwrap()
    );
    leases.release(&zombie, Some("the zombie's")).await.unwrap();
    assert_eq!(leases.note(job).await.unwrap().as_deref(), Some("the heir's"));
    assert_eq!(
        leases.take(job, "third", UNTIL_MS, i64::MAX).await.unwrap(),
        None,
        "it is still the heir's"
    );
    // The same name with an older fence: what an earlier life of the holder still has in its hands.
    let earlier = Lease {
        fence: zombie.fence,
        ..heir.clone()
    };
    assert!(!leases.keep(&earlier, 0, None).await.unwrap());
    leases.release(&earlier, None).await.unwrap();
    assert!(leases.keep(&heir, i64::MAX, None).await.unwrap());
    let nobody = Lease {
        job: self::job(),
        ..heir
    };
    assert!(
        !leases.keep(&nobody, i64::MAX, None).await.unwrap(),
        "never taken"
    );
    assert_eq!(leases.note(nobody.job).await.unwrap(), None);
}

/// Held longer than was said first; the note is the last that was given.
pub async fn keeping_prolongs_and_leaves_a_note(leases: &dyn Leases) {
    let job = job();
    let lease = taken(leases, job, "first", NOW_MS).await;
    for _ in 0..2 {
        assert!(leases.keep(&lease, UNTIL_MS + 1_000, Some("1")).await.unwrap());
    }
    assert_eq!(
        leases
            .take(job, "second", UNTIL_MS + 999, i64::MAX)
            .await
            .unwrap(),
        None
    );
    assert!(leases.keep(&lease, UNTIL_MS + 2_000, None).await.unwrap());
    assert_eq!(leases.note(job).await.unwrap().as_deref(), Some("1"));
    let long = "n".repeat(2_000);
    assert!(leases.keep(&lease, UNTIL_MS + 3_000, Some(&long)).await.unwrap());
    assert_eq!(leases.note(job).await.unwrap().as_deref(), Some(long.as_str()));
    let late = UNTIL_MS + 3_000;
    assert!(
        leases.keep(&lease, late, None).await.unwrap(),
        "its time may be over, as long as nobody came"
    );
    assert!(taken(leases, job, "second", late).await.fence > lease.fence);
    assert!(!leases.keep(&lease, i64::MAX, None).await.unwrap());
}

/// Given back: free at once, for the same holder too, under a higher fence.
pub async fn released_job_is_free_at_once(leases: &dyn Leases) {
    let job = job();
    let first = taken(leases, job, "first", NOW_MS).await;
    leases.release(&first, Some("done up to here")).await.unwrap();
    let second = taken(leases, job, "second", NOW_MS).await;
    assert!(second.fence > first.fence);
    assert_eq!(second.note.as_deref(), Some("done up to here"));
    // Applied, answer lost, retried.
    leases.release(&first, Some("again")).await.unwrap();
    assert_eq!(leases.take(job, "third", NOW_MS, i64::MAX).await.unwrap(), None);
    leases.release(&second, None).await.unwrap();
    assert_eq!(leases.note(job).await.unwrap(), None);
    assert!(!leases.keep(&second, i64::MAX, Some("late")).await.unwrap());
    let again = taken(leases, job, "second", NOW_MS).await;
    assert!(again.fence > second.fence);
    assert_eq!(again.note, None);
}

/// Jobs are told apart by kind and by number.
pub async fn jobs_are_independent(leases: &dyn Leases) {
    let day = unique::day();
    let hour = day.first_hour();
    let jobs = [
        Job::Hour(hour),
        Job::Hour(clickledger_core::domain::time::Hour(hour.0 + 1)),
        Job::Day(day),
        Job::Day(clickledger_core::domain::time::Day(day.0 + 1)),
    ];
    for (n, job) in jobs.into_iter().enumerate() {
        let lease = taken(leases, job, &format!("holder {n}"), NOW_MS).await;
        assert!(
            leases
                .keep(&lease, UNTIL_MS, Some(&format!("note {n}")))
                .await
                .unwrap()
        );
    }
    for (n, job) in jobs.into_iter().enumerate() {
        assert_eq!(leases.note(job).await.unwrap(), Some(format!("note {n}")));
        assert_eq!(leases.take(job, "other", NOW_MS, i64::MAX).await.unwrap(), None);
    }
    // The daily run is one job of the whole store: taken so that its time is over at once.
    let holder = format!("daily {}", unique::number());
    let lease = leases
        .take(Job::Daily, &holder, i64::MAX, i64::MAX)
        .await
        .unwrap();
    let lease = lease.unwrap();
    assert_eq!((lease.job, lease.holder.as_str()), (Job::Daily, holder.as_str()));
    leases.release(&lease, None).await.unwrap();
}

/// Makes a test of every case.
#[macro_export]
macro_rules! leases_contract {
    ($open:path) => {
        $crate::contract_cases!(
            leases as leases,
            $open,
            [
                job_is_handed_on_when_its_time_is_over,
                taking_again_answers_the_same_lease,
                concurrent_takers_get_one_lease,
                holder_that_was_overtaken_changes_nothing,
                keeping_prolongs_and_leaves_a_note,
                released_job_is_free_at_once,
                jobs_are_independent,
            ]
        );
    };
}
