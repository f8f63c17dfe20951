//! What an answer's counts come from, stretch by stretch.
//!
//! Invariant: stretches follow each other in the order of time without overlap; what no stretch covers is not asked about.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What can be said of some of the counts of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountState {
    /// Counted live; not proved yet.
    Open,
    /// Live counting left out clicks that came late, or could not be written: they are counted when the hour is sealed (anew).
    Dirty,
    /// Proved against the lake. Of a sealed day also where hours of it are closed by now.
    Sealed,
    /// The proof failed: the lake holds less than was counted.
    Disputed,
    /// Proved, and its bill is settled.
    Closed,
    /// Never proved, and what was counted live is kept no longer: nobody knows.
    Incomplete,
}

impl CountState {
    /// Whether such counts are proved, so that they change no more but by a recorded correction.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Sealed | Self::Closed)
    }
}

/// The states of a query's minutes. Times are Unix minutes.
#[derive(Debug, Default)]
pub(super) struct Standings {
    runs: Vec<(Range<i64>, CountState)>,
}

impl Standings {
    /// The stretch after all before it.
    pub(super) fn push(&mut self, minutes: Range<i64>, state: CountState) {
        match self.runs.last_mut() {
            Some((last, same)) if *same == state && last.end == minutes.start => last.end = minutes.end,
            _ => self.runs.push((minutes, state)),
        }
    }

    /// Whether everything is proved, what is only read for windows too.
    pub(super) fn all_final(&self) -> bool {
        self.runs.iter().all(|(_, state)| state.is_final())
    }

    /// Whether everything is closed.
    pub(super) fn all_closed(&self) -> bool {
        self.runs.iter().all(|(_, state)| *state == CountState::Closed)
    }

    fn over(&self, minutes: &Range<i64>) -> impl Iterator<Item = &(Range<i64>, CountState)> {
        let first = self.runs.partition_point(|(run, _)| run.end <= minutes.start);
        let end = minutes.end;
        self.runs[first..]
            .iter()
            .take_while(move |(run, _)| run.start < end)
    }

    /// Whether all of these minutes are proved.
    pub(super) fn are_final(&self, minutes: &Range<i64>) -> bool {
        self.over(minutes).all(|(_, state)| state.is_final())
    }

    /// Whether some of these minutes are known no more.
    pub(super) fn are_incomplete(&self, minutes: &Range<i64>) -> bool {
        self.over(minutes)
            .any(|(_, state)| *state == CountState::Incomplete)
    }

    /// Until when all is proved that begins with the range; `None` if its first minute is not.
    pub(super) fn final_until(&self, range: &Range<i64>) -> Option<i64> {
        let end = self
            .over(range)
            .find(|(_, state)| !state.is_final())
            .map_or(range.end, |(run, _)| run.start.max(range.start));
        (end > range.start).then_some(end)
    }

    /// The states that occur in the range, each once.
    pub(super) fn states(&self, range: &Range<i64>) -> Vec<CountState> {
        let mut states: Vec<CountState> = self.over(range).map(|(_, state)| *state).collect();
        states.sort_unstable();
        states.dedup();
        states
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_say_what_is_final_and_what_is_unknown() {
        use CountState::{Closed, Incomplete, Open, Sealed};
        let mut standings = Standings::default();
        for (minutes, state) in [
            (0..10, Closed),
            (10..20, Sealed),
            (20..30, Sealed),
            (30..40, Incomplete),
            (40..60, Open),
        ] {
            standings.push(minutes, state);
        }
        assert_eq!(standings.runs.len(), 4, "alike neighbours are one");
        for (minutes, is_final, incomplete, until) in [
            (0..30, true, false, Some(30)),
            (0..31, false, true, Some(30)),
            (5..6, true, false, Some(6)),
            (29..41, false, true, Some(30)),
            (30..40, false, true, None),
            (40..60, false, false, None),
        ] {
            assert_eq!(standings.are_final(&minutes), is_final, "{minutes:?}");
            assert_eq!(standings.are_incomplete(&minutes), incomplete, "{minutes:?}");
            assert_eq!(standings.final_until(&minutes), until, "{minutes:?}");
        }
        assert_eq!(standings.states(&(0..60)), [Open, Sealed, Closed, Incomplete]);
        assert_eq!(standings.states(&(12..25)), [Sealed]);
    }
}
