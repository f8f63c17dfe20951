//! Rules that the simulation breaks on purpose, one at a time, to show that it would notice.
//!
//! Without the feature `mutants` (only tests turn it on) [`Mutation::is`] is the constant `false`, so that no binary
//! carries a broken rule.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// A rule, broken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Broken { $($(#[$doc])* $name,)* }

        impl Broken {
            /// Every rule that can be broken.
            pub const ALL: &[Broken] = &[$(Broken::$name,)*];

            /// The mutant's name on the command line.
            pub fn as_str(self) -> &'static str {
                match self { $(Broken::$name => $text,)* }
            }
        }
    };
}

rules! {
    /// A refusal by its own `click_id` is taken for a duplicate.
    ClaimIgnoresOwner => "claim_ignores_owner",
    /// A prefetch claims too.
    PrefetchClaims => "prefetch_claims",
    /// A claim lives no longer than its token.
    ClaimsExpireWithToken => "claims_expire_with_token",
    /// 302 although neither stream nor spill took the record.
    RedirectBeforeSpill => "redirect_before_spill",
    /// The partition key is made again at every put.
    SaltRecomputed => "salt_recomputed",
    /// `aggregate` counts an unclaimed click without claiming.
    UnclaimedCountedLive => "unclaimed_counted_live",
    /// `ADD … IF watermark < :last`.
    BlindAdd => "blind_add",
    /// A dropped repeat does not move its groups' watermarks.
    RepeatKeepsWatermark => "repeat_keeps_watermark",
    /// A big delta's second piece is written though the first failed.
    CutGoesOn => "cut_goes_on",
    /// The lane log holds impression ids.
    LogByImpression => "log_by_impression",
    /// The lane log takes the whole sub-batch although some of it failed.
    LogAboveFailure => "log_above_failure",
    /// The lane log is written before the partials.
    LogBeforeCommit => "log_before_commit",
    /// The next sub-batch is worked although one failed.
    GoesOnAfterFailure => "goes_on_after_failure",
    /// The lane log is read a quarter of L back.
    WindowShort => "window_short",
    /// The lane log's window is judged by the wall clock.
    WindowWallClock => "window_wall_clock",
    /// A child shard does not read its parents' logs.
    NoParents => "no_parents",
    /// Only the child's first batch reads its parents' logs.
    ParentsInFirstBatch => "parents_in_first_batch",
    /// A child reads its parents' logs, not theirs.
    NoGrandparents => "no_grandparents",
    /// Late records are added to partials.
    LateCounted => "late_counted",
    /// A late copy enters the ids that repeats are judged by.
    LateEntersLog => "late_enters_log",
    /// A late record leaves its hour as it is.
    LateKeepsHourClean => "late_keeps_hour_clean",
    /// A bad record holds up nothing, but is not kept either.
    QuarantineForgets => "quarantine_forgets",
    /// The recount takes an unclaimed click for valid without asking the claim.
    UnclaimedSealed => "unclaimed_sealed",
    /// The daily run does not seal anew the hours that late records touched.
    NoReseal => "no_reseal",
    /// The recount reads only its own hour's arrivals.
    RecountOwnPartition => "recount_own_partition",
    /// The recount does not filter by `clicked_at`.
    RecountByArrival => "recount_by_arrival",
    /// The recount does not reduce to one row per `click_id`.
    RecountCountsRows => "recount_counts_rows",
    /// The recount counts distinct impressions per group, not one row per click.
    RecountDistinctImpressions => "recount_distinct_impressions",
    /// An hour is sealed when its time has come.
    SealWithoutProof => "seal_without_proof",
    /// One heartbeat from after the hour is enough (objects may overtake each other).
    ProofByLastHeartbeat => "proof_by_last_heartbeat",
    /// Only open shards are proved, a closed one's tail is not.
    ClosedShardUnproved => "closed_shard_unproved",
    /// What came while no heartbeat was acknowledged is taken for delivered.
    GapsUnproved => "gaps_unproved",
    /// The manifest is flipped by whoever comes last.
    FlipUnchecked => "flip_unchecked",
    /// Orphaned duplicates stay duplicates.
    NoPromotion => "no_promotion",
    /// All duplicates of one orphan are promoted.
    PromotesEveryDuplicate => "promotes_every_duplicate",
    /// An orphan that comes after the promotion is still valid.
    OrphanReturnsValid => "orphan_returns_valid",
    /// Whose an unclaimed click's impression is, is asked of the claims each time: they expire.
    RulingsForgotten => "rulings_forgotten",
    /// A dead run's slice is noted before it is written.
    NoteBeforeSlice => "note_before_slice",
    /// A day is sealed once, and not anew when one of its hours changes.
    DayKept => "day_kept",
    /// An hour is sealed though the lake holds less than was counted.
    DisputeIgnored => "dispute_ignored",
    /// Sealing does not note which marks it has seen.
    MarksLost => "marks_lost",
    /// Sealing does not note how far it has read the lake.
    LastArrivalForgotten => "last_arrival_forgotten",
    /// The owners of duplicates are sought no further back than the duplicates.
    OwnersInWindow => "owners_in_window",
    /// The daily run moves on before it is done.
    SinceAdvancesFirst => "since_advances_first",
    /// The daily run does not reach back to what was not ripe at the last one's cut.
    MarginForgotten => "margin_forgotten",
    /// Every child shard is taken to be born later.
    ChildrenUnproved => "children_unproved",
    /// The lake is proved up to the hour's end, without L.
    ProofEndsWithHour => "proof_ends_with_hour",
    /// A closed hour's recount is compared with what was sealed, not with what is owed already.
    AdjustedAnew => "adjusted_anew",
    /// Pairs of advertiser and placement are sealed as their clicks' records say, whatever was ruled since.
    PairsUnruled => "pairs_unruled",
}

/// Which rule is broken; none, outside the simulation's mutation check.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mutation {
    #[cfg(feature = "mutants")]
    broken: Option<Broken>,
}

impl Mutation {
    /// Breaks this rule.
    #[cfg(feature = "mutants")]
    pub fn of(broken: Option<Broken>) -> Self {
        Self { broken }
    }

    /// Whether this rule is broken.
    #[inline]
    pub fn is(self, rule: Broken) -> bool {
        #[cfg(feature = "mutants")]
        return self.broken == Some(rule);
        #[cfg(not(feature = "mutants"))]
        {
            let _ = rule;
            false
        }
    }
}
