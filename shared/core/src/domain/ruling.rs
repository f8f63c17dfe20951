//! Rulings: what sealing has decided of single clicks, once and for good.
//!
//! Invariant: a ruling is put if absent and never changed, so that every later recount decides alike: claims expire, rulings
//! don't.

use super::ids::ClickId;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RulingKind {
    /// Whose the impression of this unclaimed click is (its own, or another click's).
    Owner = 1,
    /// This click, an orphan that the lake did not hold, lost its impression to the other one.
    DisplacedBy = 2,
    /// This click is to take the place of the other one, an orphan; it does if the orphan's [`Self::DisplacedBy`] names it.
    /// (Put first, so that who looks at this click's hour finds the orphan, also if the run that promotes dies half way.)
    TakesPlaceOf = 3,
}

impl RulingKind {
    /// Every kind, by its number.
    pub const ALL: [RulingKind; 3] = [Self::Owner, Self::DisplacedBy, Self::TakesPlaceOf];

    /// The kind of a number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A ruling. It belongs to the hour of its click's own time ([`ClickId::unix_ms`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ruling {
    /// Of which click.
    pub click_id: ClickId,
    /// What.
    pub kind: RulingKind,
    /// The other click.
    pub other: ClickId,
}
