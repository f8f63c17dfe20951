//! [`Manifests`] together with [`SealStore`]'s marks: what readers see changes in one step, by whoever knew what was there.

use clickledger_core::domain::manifest::{DayManifest, HourState, LakeTotals, Manifest, RULES_VERSION};
use clickledger_core::domain::time::{Day, Hour};
use clickledger_core::ports::{Manifests, SealStore};
use futures_util::future::join_all;

use super::{NOW_MS, unique};

async fn hour(store: &impl Manifests, hour: Hour) -> Option<Manifest> {
    let mut found = store.hours(hour, Hour(hour.0 + 1)).await.unwrap();
    assert!(found.len() <= 1);
    found.pop()
}

async fn day(store: &impl Manifests, day: Day) -> Option<DayManifest> {
    let mut found = store.days(day, Day(day.0 + 1)).await.unwrap();
    assert!(found.len() <= 1);
    found.pop()
}

/// What a run that sealed `base` under this version would flip.
fn sealed(base: &Manifest, version: u64) -> Manifest {
    Manifest {
        state: HourState::Sealed,
        version,
        rules: RULES_VERSION,
        lake: LakeTotals {
            rows: 1_000 + version,
            clicks: 900,
            valid: 800,
        },
        sealed_at_ms: NOW_MS + version.cast_signed(),
        marks_sealed: base.marks,
        ..base.clone()
    }
}

/// Every field comes back, in every state; the revision is one higher.
pub async fn flipped_manifest_comes_back_whole(store: &(impl Manifests + SealStore)) {
    let first = unique::day().first_hour();
    assert_eq!(hour(store, first).await, None);
    let mut manifest = Manifest::open(first);
    for (n, state) in [
        HourState::Open,
        HourState::Disputed,
        HourState::Sealed,
        HourState::Closed,
    ]
    .into_iter()
    .enumerate()
    {
        let n = n as u64;
        let new = Manifest {
            state,
            adjusted: n * 3,
            rulings: n * 7,
            last_arrival: Hour(first.0 + 40),
            ..sealed(&manifest, n * 10)
        };
        assert!(store.flip(&new).await.unwrap());
        manifest = Manifest {
            revision: n + 1,
            ..new
        };
        assert_eq!(hour(store, first).await, Some(manifest.clone()));
    }
}

/// A run that was overtaken learns it, and changes nothing.
pub async fn flip_of_an_old_revision_changes_nothing(store: &(impl Manifests + SealStore)) {
    let first = unique::day().first_hour();
    let base = Manifest::open(first);
    assert!(store.flip(&sealed(&base, 5)).await.unwrap());
    let standing = hour(store, first).await;
    assert!(!store.flip(&sealed(&base, 4)).await.unwrap());
    assert!(!store.flip(&sealed(&base, 6)).await.unwrap());
    let ahead = Manifest { revision: 2, ..base };
    assert!(
        !store.flip(&sealed(&ahead, 7)).await.unwrap(),
        "a revision that never was"
    );
    assert_eq!(hour(store, first).await, standing);
    assert_eq!(
        day(store, first.day()).await,
        Some(DayManifest {
            generation: 1,
            ..DayManifest::open(first.day())
        })
    );
}

/// Applied, answer lost, retried: `true`, and nothing is done twice; not so once somebody else has flipped.
pub async fn flip_whose_answer_was_lost_is_true_again(store: &(impl Manifests + SealStore)) {
    let first = unique::day().first_hour();
    let new = sealed(&Manifest::open(first), 5);
    for _ in 0..3 {
        assert!(store.flip(&new).await.unwrap());
        store.mark_dirty(&[first]).await.unwrap();
    }
    let standing = hour(store, first).await.unwrap();
    assert_eq!((standing.revision, standing.version), (1, 5));
    let generation = day(store, first.day()).await.unwrap().generation;
    assert_eq!(generation, 4, "of one flip and three marks behind it");
    assert!(store.flip(&sealed(&standing, 8)).await.unwrap());
    assert!(!store.flip(&new).await.unwrap());
    assert_eq!(hour(store, first).await.unwrap().version, 8);
}

/// Of many that start from the same state one is through.
pub async fn concurrent_flips_let_one_through(store: &(impl Manifests + SealStore)) {
    let first = unique::day().first_hour();
    store.mark_dirty(&[first]).await.unwrap();
    let base = hour(store, first).await.unwrap();
    let runs: Vec<Manifest> = (1..=8).map(|version| sealed(&base, version)).collect();
    let flipped = join_all(runs.iter().map(|new| store.flip(new))).await;
    let through: Vec<&Manifest> = runs
        .iter()
        .zip(flipped)
        .filter_map(|(new, flipped)| flipped.unwrap().then_some(new))
        .collect();
    assert_eq!(through.len(), 1);
    let standing = hour(store, first).await.unwrap();
    assert_eq!((standing.version, standing.revision), (through[0].version, 1));
    assert_eq!(day(store, first.day()).await.unwrap().generation, 1);
}

/// A mark that a run has not seen stays over its flip.
pub async fn marks_are_never_lost(store: &(impl Manifests + SealStore)) {
    let first = unique::day().first_hour();
    let next = Hour(first.0 + 1);
    store.mark_dirty(&[first]).await.unwrap();
    let marked = hour(store, first).await.unwrap();
    assert_eq!(
        marked,
        Manifest {
            marks: marked.marks,
            ..Manifest::open(first)
        },
        "an hour that was only marked has a manifest"
    );
    assert!(marked.is_dirty());
    // A mark comes while a run is at the hour.
    store.mark_dirty(&[first]).await.unwrap();
    assert!(store.flip(&sealed(&marked, 5)).await.unwrap());
    let half = hour(store, first).await.unwrap();
    assert!(half.is_dirty());
    assert_eq!(store.dirty(first, next).await.unwrap(), [first]);
    assert!(store.flip(&sealed(&half, 6)).await.unwrap());
    assert!(!hour(store, first).await.unwrap().is_dirty());
    assert_eq!(store.dirty(first, next).await.unwrap(), []);
    store.mark_dirty(&[first]).await.unwrap();
    let again = hour(store, first).await.unwrap();
    assert!(again.is_dirty());
    assert_eq!((again.version, again.revision), (6, 2), "a mark is no flip");
    assert_eq!(store.dirty(first, next).await.unwrap(), [first]);

    // One that says why is a mark too, and no flip forgets why.
    assert_eq!(again.quarantined, 0);
    store.mark_quarantined(first).await.unwrap();
    let why = hour(store, first).await.unwrap();
    assert_eq!((why.marks - again.marks, why.quarantined), (1, 1));
    assert!(store.flip(&sealed(&again, 7)).await.unwrap());
    let half = hour(store, first).await.unwrap();
    assert!(half.is_dirty(), "it came behind what was flipped");
    assert!(store.flip(&sealed(&half, 8)).await.unwrap());
    let standing = hour(store, first).await.unwrap();
    assert_eq!((standing.is_dirty(), standing.quarantined), (false, 1));
}

/// A day's version falls with the first of its hours that gets another one, and only then.
pub async fn new_version_of_an_hour_opens_its_day(store: &(impl Manifests + SealStore)) {
    let of = unique::day();
    let (first, last) = (of.first_hour(), Hour(of.first_hour().0 + 23));
    assert_eq!(day(store, of).await, None);
    assert!(store.flip(&sealed(&Manifest::open(first), 5)).await.unwrap());
    assert!(store.flip(&sealed(&Manifest::open(last), 6)).await.unwrap());
    let manifest = |generation, version| {
        Some(DayManifest {
            day: of,
            version,
            generation,
        })
    };
    assert_eq!(day(store, of).await, manifest(2, 0));
    assert!(
        !store.flip_day(of, 1, 7).await.unwrap(),
        "read before the last flip"
    );
    assert!(store.flip_day(of, 2, 7).await.unwrap());
    assert!(
        store.flip_day(of, 2, 7).await.unwrap(),
        "applied, answer lost, retried"
    );
    assert_eq!(day(store, of).await, manifest(2, 7));
    // Something else than the version is noted.
    let standing = hour(store, last).await.unwrap();
    let noted = Manifest {
        last_arrival: Hour(last.0 + 30),
        ..standing.clone()
    };
    assert!(store.flip(&noted).await.unwrap());
    assert_eq!(day(store, of).await, manifest(2, 7));
    let standing = hour(store, last).await.unwrap();
    assert!(store.flip(&sealed(&standing, 9)).await.unwrap());
    assert_eq!(day(store, of).await, manifest(3, 0));
    assert!(!store.flip_day(of, 2, 7).await.unwrap());
    assert_eq!(day(store, of).await, manifest(3, 0));
    // The hours of the days beside it are not its own.
    assert!(
        store
            .flip(&sealed(&Manifest::open(Hour(last.0 + 1)), 5))
            .await
            .unwrap()
    );
    assert_eq!(day(store, of).await, manifest(3, 0));
}

/// It would say that it is final. A mark on an hour that is not sealed, or is closed, changes nothing that a day says.
pub async fn mark_or_dispute_of_a_sealed_hour_opens_its_day(store: &(impl Manifests + SealStore)) {
    let of = unique::day();
    let first = of.first_hour();
    let stands = async || day(store, of).await.map(|day| (day.generation, day.version));
    store.mark_dirty(&[first]).await.unwrap();
    assert_eq!(stands().await, None);
    let marked = hour(store, first).await.unwrap();
    assert!(store.flip(&sealed(&marked, 5)).await.unwrap());
    assert!(store.flip_day(of, 1, 6).await.unwrap());
    store.mark_dirty(&[first]).await.unwrap();
    assert_eq!(stands().await, Some((2, 0)));
    assert!(!store.flip_day(of, 1, 6).await.unwrap(), "read before the mark");
    assert!(store.flip_day(of, 2, 6).await.unwrap());
    store.mark_quarantined(first).await.unwrap();
    assert_eq!(stands().await, Some((3, 0)));
    assert!(store.flip_day(of, 3, 6).await.unwrap());

    let standing = hour(store, first).await.unwrap();
    let disputed = Manifest {
        state: HourState::Disputed,
        marks_sealed: standing.marks,
        ..standing
    };
    assert!(store.flip(&disputed).await.unwrap());
    assert_eq!(stands().await, Some((4, 0)));
    let standing = hour(store, first).await.unwrap();
    let closed = Manifest {
        state: HourState::Closed,
        ..standing
    };
    assert!(store.flip(&closed).await.unwrap());
    assert!(store.flip_day(of, 4, 6).await.unwrap());
    store.mark_dirty(&[first]).await.unwrap();
    assert_eq!(stands().await, Some((4, 6)), "a closed hour changes no more");
}

/// A zombie of the same generation: the items of its version may be forgotten already.
pub async fn day_is_never_flipped_to_a_lower_version(store: &(impl Manifests + SealStore)) {
    let of = unique::day();
    assert!(
        store
            .flip(&sealed(&Manifest::open(of.first_hour()), 5))
            .await
            .unwrap()
    );
    assert!(store.flip_day(of, 1, 8).await.unwrap());
    assert!(!store.flip_day(of, 1, 7).await.unwrap());
    assert_eq!(day(store, of).await.unwrap().version, 8);
    assert!(store.flip_day(of, 1, 9).await.unwrap());
    assert_eq!(day(store, of).await.unwrap().version, 9);
}

/// From inclusive, to exclusive, in order; what is not stored is not there.
pub async fn manifests_are_listed_in_order(store: &(impl Manifests + SealStore)) {
    let start = unique::day();
    let at = |n: i64| Hour(start.first_hour().0 + n);
    for n in [700, 3, 30, 5] {
        assert!(store.flip(&sealed(&Manifest::open(at(n)), 1)).await.unwrap());
    }
    let hours = |from, to| async move {
        let found = store.hours(at(from), at(to)).await.unwrap();
        found
            .into_iter()
            .map(|manifest| manifest.hour.0 - at(0).0)
            .collect::<Vec<_>>()
    };
    assert_eq!(hours(0, 900).await, [3, 5, 30, 700]);
    assert_eq!(hours(3, 5).await, [3]);
    assert_eq!(hours(4, 31).await, [5, 30]);
    assert_eq!(hours(5, 5).await, [0_i64; 0]);
    let days = |from, to| async move {
        let found = store.days(Day(start.0 + from), Day(start.0 + to)).await.unwrap();
        found
            .into_iter()
            .map(|manifest| manifest.day.0 - start.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(days(0, 40).await, [0, 1, 29]);
    assert_eq!(days(1, 29).await, [1]);
    assert_eq!(days(2, 2).await, [0_i64; 0]);
}

/// Makes a test of every case.
#[macro_export]
macro_rules! manifests_contract {
    ($open:path) => {
        $crate::contract_cases!(
            manifests as manifests,
            $open,
            [
                flipped_manifest_comes_back_whole,
                flip_of_an_old_revision_changes_nothing,
                flip_whose_answer_was_lost_is_true_again,
                concurrent_flips_let_one_through,
                marks_are_never_lost,
                new_version_of_an_hour_opens_its_day,
                mark_or_dispute_of_a_sealed_hour_opens_its_day,
                day_is_never_flipped_to_a_lower_version,
                manifests_are_listed_in_order,
            ]
        );
    };
}
