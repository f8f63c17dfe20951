//! [`Rulings`]: the first one stands, for good.

use clickledger_core::domain::ids::ClickId;
use clickledger_core::domain::ruling::{Ruling, RulingKind};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::Rulings;
use futures_util::future::join_all;

use super::unique;

/// A click of this hour, `ms` after its begin.
fn click_of(hour: Hour, ms: i64) -> ClickId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&unique::number().to_be_bytes());
    ClickId::new(hour.start_ms() + ms, random)
}

fn ruling(click_id: ClickId, kind: RulingKind) -> Ruling {
    Ruling {
        click_id,
        kind,
        other: unique::click_id(),
    }
}

/// Applied, answer lost, retried: the same stands; another's comes too late.
pub async fn first_ruling_stands(rulings: &dyn Rulings) {
    let hour = unique::day().first_hour();
    let first = ruling(click_of(hour, 0), RulingKind::Owner);
    for _ in 0..2 {
        assert_eq!(rulings.rule(first).await.unwrap(), first);
        let late = ruling(first.click_id, RulingKind::Owner);
        assert_eq!(rulings.rule(late).await.unwrap(), first);
    }
    let own = Ruling {
        other: first.click_id,
        ..first
    };
    assert_eq!(rulings.rule(own).await.unwrap(), first);
    assert_eq!(rulings.of_hour(hour, None, 10).await.unwrap(), [first]);
}

/// A click may have one of each kind.
pub async fn kinds_are_independent(rulings: &dyn Rulings) {
    let hour = unique::day().first_hour();
    let click = click_of(hour, 5);
    let all = RulingKind::ALL.map(|kind| ruling(click, kind));
    for one in all.iter().rev() {
        assert_eq!(rulings.rule(*one).await.unwrap(), *one);
    }
    assert_eq!(rulings.of_hour(hour, None, 10).await.unwrap(), all);
}

/// Many rule at once: all are answered the same.
pub async fn concurrent_rulings_agree(rulings: &dyn Rulings) {
    let hour = unique::day().first_hour();
    let click = click_of(hour, 5);
    let tries: Vec<Ruling> = (0..16).map(|_| ruling(click, RulingKind::DisplacedBy)).collect();
    let mut stands: Vec<Ruling> = join_all(tries.iter().map(|one| rulings.rule(*one)))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    stands.dedup();
    assert_eq!(stands.len(), 1, "{stands:?}");
    assert!(tries.contains(&stands[0]));
    assert_eq!(rulings.of_hour(hour, None, 10).await.unwrap(), stands);
}

/// By click and kind, in pages; an hour's are those of its clicks' own time.
pub async fn rulings_of_an_hour_are_listed_in_order(rulings: &dyn Rulings) {
    let hour = unique::day().first_hour();
    let beside = [
        ruling(click_of(hour, -1), RulingKind::Owner),
        ruling(click_of(hour, 3_600_000), RulingKind::Owner),
    ];
    let mut all: Vec<Ruling> = (0..40)
        .flat_map(|n| {
            let click = click_of(hour, n * 89_999 % 3_600_000);
            let kinds = &RulingKind::ALL[..1 + n as usize % 3];
            kinds
                .iter()
                .map(move |kind| ruling(click, *kind))
                .collect::<Vec<_>>()
        })
        .collect();
    for one in all.iter().chain(&beside) {
        rulings.rule(*one).await.unwrap();
    }
    all.sort_unstable();
    for limit in [1, 7, all.len(), 1_000] {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let page = rulings.of_hour(hour, after, limit).await.unwrap();
            assert!(page.len() <= limit);
            read.extend(&page);
            if page.len() < limit {
                break;
            }
            after = read.last().map(|last: &Ruling| (last.click_id, last.kind));
        }
        assert_eq!(read, all);
    }
}

/// Makes a test of every case.
#[macro_export]
macro_rules! rulings_contract {
    ($open:path) => {
        $crate::contract_cases!(
            rulings as rulings,
            $open,
            [
                first_ruling_stands,
                kinds_are_independent,
                concurrent_rulings_agree,
                rulings_of_an_hour_are_listed_in_order,
            ]
        );
    };
}
