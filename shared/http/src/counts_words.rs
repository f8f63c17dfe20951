//! The words of metrics as the API's description tells them: closed lists.
//!
//! Invariant: they are those of `clickledger_core::service::metrics`; a test holds each against what is accepted.

#![allow(dead_code)] // read by the macros that make the description, never made

use utoipa::ToSchema;

/// How long a row is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum GranularityWord {
    Minute,
    Hour,
    Day,
    Total,
}

/// What rows are broken down by, in an address.
#[derive(ToSchema)]
pub(crate) enum GroupByWord {
    #[schema(rename = "device")]
    Device,
    #[schema(rename = "country")]
    Country,
    #[schema(rename = "device,country")]
    DeviceCountry,
    #[schema(rename = "verdict")]
    Verdict,
    #[schema(rename = "ad")]
    Ad,
    #[schema(rename = "placement")]
    Placement,
}

/// What rows are broken down by, one column.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ColumnWord {
    Device,
    Country,
    Verdict,
    Ad,
    Placement,
}

/// A device class.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum DeviceWord {
    Desktop,
    Mobile,
    Tablet,
    Tv,
    Bot,
    Other,
    Unknown,
}

/// What a click was judged to be.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum VerdictWord {
    Valid,
    Prefetch,
    MissingToken,
    BadToken,
    ExpiredToken,
    InactiveAd,
    Bot,
    RateLimited,
    Duplicate,
}

/// Something that rows and totals carry; `peak_minute` is of totals only.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum MetricWord {
    GrossClicks,
    Clicks,
    InvalidClicks,
    InvalidClickRate,
    InvalidByVerdict,
    PeakMinute,
}

/// The most clicks first.
#[derive(ToSchema)]
pub(crate) enum OrderWord {
    #[schema(rename = "-clicks")]
    MostClicks,
}

/// Another range: as long, up to `from`; or the same dates a year before.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum CompareWord {
    PreviousPeriod,
    PreviousYear,
}

/// How an answer is written.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum FormatWord {
    Json,
    Csv,
}

/// Whose clicks.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum EntityWord {
    Ad,
    Campaign,
    Advertiser,
    Placement,
    Total,
}

/// What an answer's counts are worth as a whole.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum StateWord {
    Final,
    Live,
    Mixed,
    Incomplete,
}

/// What some of its counts come from.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum CountStateWord {
    Open,
    Dirty,
    Sealed,
    Disputed,
    Closed,
    Incomplete,
}
