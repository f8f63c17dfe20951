//! Before and after: what a recount changes in an entity's hour, why, and whether it may.
//!
//! Invariant: raising a gross count is free. Lowering one by more than the lake's repeats is not believed.

use crate::domain::correction::Cause;
use crate::domain::counter::Counters;

/// An entity's minutes with clicks: places (0 to 59) in order.
pub(super) type Minutes = Vec<(u8, Counters)>;

/// What is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ground {
    /// Sealed counts; else partials.
    pub(super) sealed: bool,
    /// Live counting said that it left late clicks out.
    pub(super) late: bool,
    /// Live counting said that it put counts into quarantine.
    pub(super) quarantined: bool,
    /// It was recounted under other rules.
    pub(super) restated: bool,
}

/// What the recount says of one minute, beside its counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Evidence {
    /// Repeats in the lake.
    pub(super) repeats: u64,
    /// Whether a click took another's place, or lost it.
    pub(super) promoted: bool,
    /// Whether some clicks came unclaimed.
    pub(super) unclaimed: bool,
}

/// A minute that the recount changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) place: u8,
    pub(super) before: Counters,
    pub(super) after: Counters,
    pub(super) cause: Cause,
    /// More clicks are missing than the lake can explain.
    pub(super) lost: bool,
}

/// What differs, in the order of places.
pub(super) fn compare(
    ground: Ground,
    before: &[(u8, Counters)],
    after: &[(u8, Counters)],
    evidence: impl Fn(u8) -> Evidence,
) -> Vec<Difference> {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    let mut found = Vec::new();
    loop {
        let place = match (old.peek(), new.peek()) {
            (Some((a, _)), Some((b, _))) => *a.min(b),
            (Some((place, _)), None) | (None, Some((place, _))) => *place,
            (None, None) => return found,
        };
        let take = |it: &mut std::iter::Peekable<std::slice::Iter<'_, (u8, Counters)>>| {
            let minute = it.next_if(|(other, _)| *other == place);
            minute.map(|(_, counters)| counters.clone()).unwrap_or_default()
        };
        let (before, after) = (take(&mut old), take(&mut new));
        if before != after {
            let evidence = evidence(place);
            let explained = if ground.sealed { 0 } else { evidence.repeats };
            found.push(Difference {
                place,
                lost: before.gross() > after.gross() + explained,
                cause: cause(ground, evidence, &before, &after),
                before,
                after,
            });
        }
    }
}

fn cause(ground: Ground, evidence: Evidence, before: &Counters, after: &Counters) -> Cause {
    let (was, is) = (before.gross(), after.gross());
    if is < was {
        return match ground.sealed {
            false if was <= is + evidence.repeats => Cause::CountedTwice,
            _ => Cause::Unknown,
        };
    }
    if is > was {
        return match (ground.late, ground.quarantined) {
            // What was sealed was whole then: it has come since.
            _ if ground.sealed => Cause::Late,
            (true, false) => Cause::Late,
            (false, true) => Cause::Quarantined,
            // Either, or both: the marks are the hour's, not the minute's.
            (true, true) => Cause::Unknown,
            (false, false) => Cause::LostInStream,
        };
    }
    match () {
        () if evidence.promoted => Cause::Promoted,
        () if ground.restated => Cause::Restated,
        () if evidence.unclaimed => Cause::Unclaimed,
        () => Cause::Unknown,
    }
}
