//! Making days of the lake Parquet, by Athena.
//!
//! Invariant: nothing of the lake is changed or deleted. What was made is compared with the objects before it may be read, in
//! a place that no other try writes to; what a try leaves that ended half way is never read and is deleted a day later.

use aws_sdk_s3::types::CommonPrefix;
use clickledger_core::domain::time::{DAY_MS, Day as DayNumber};
use clickledger_core::ports::{PortError, PortResult};
use serde::Deserialize;

use super::history::{History, files_of, objects_of};
use super::query::Athena;
use super::sql;
use crate::calendar::Day;
use crate::config::ConfigError;
use crate::connect::Aws;
use crate::failure;
use crate::patience::Patience;
use crate::system::random_below;

/// The last days, which are looked at again, whether something came to them since: somebody may have put back what was missing.
/// Older ones to which something comes are read from the objects, which costs more and is as right.
const LOOKED_AT_AGAIN: usize = 35;

/// A day of arrivals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct LakeDay(String);

impl TryFrom<String> for LakeDay {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a day is written yyyy-mm-dd")
    }
}

impl LakeDay {
    /// The day that begins so many days after 1970-01-01.
    pub fn of(day: DayNumber) -> Self {
        Self(Day::of_number(day.0).dashed())
    }

    /// `yyyy-mm-dd`; `None` if it is not.
    pub fn parse(text: &str) -> Option<Self> {
        let shaped = text.len() == 10
            && text.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        shaped.then(|| Self(text.to_owned()))
    }

    /// `yyyy-mm-dd`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Makes days Parquet.
pub struct Compaction {
    athena: Athena,
    history: History,
}

impl Aws {
    /// Compaction of the lake, each of its calls with this patience; a query may take ten minutes.
    ///
    /// # Errors
    /// The name of the bucket, of the lake's database or of the workgroup is missing.
    pub async fn compaction(&self, patience: Patience) -> Result<Compaction, ConfigError> {
        Ok(Compaction {
            athena: self.athena(patience).await?,
            history: self.history(patience).await?,
        })
    }
}

impl Compaction {
    /// The days from `from` on, before `before`, that hold objects and are not Parquet, as far as is known; oldest first.
    ///
    /// # Errors
    /// S3 or Glue does not answer.
    pub async fn days(&self, from: Option<&LakeDay>, before: &LakeDay) -> PortResult<Vec<LakeDay>> {
        let within = |day: &LakeDay| from.is_none_or(|from| from <= day) && day < before;
        let mut days: Vec<LakeDay> = self.lake_days().await?.into_iter().filter(within).collect();
        days.sort_unstable();
        let (Some(first), Some(last)) = (days.first(), days.last()) else {
            return Ok(days);
        };
        let known = self.history.compared(first.as_str(), last.as_str()).await?;
        let old = days.len().saturating_sub(LOOKED_AT_AGAIN);
        let mut place = 0..;
        days.retain(|day| place.next() >= Some(old) || !known.contains(day.as_str()));
        Ok(days)
    }

    async fn lake_days(&self) -> PortResult<Vec<LakeDay>> {
        let (mut days, mut next) = (Vec::new(), None);
        loop {
            let list = self.history.s3.list_objects_v2().bucket(&self.history.bucket);
            let list = list.prefix("lake/").delimiter("/").set_continuation_token(next);
            let list = || async { list.clone().send().await.map_err(failure::of_sdk) };
            let page = self.athena.patience.run(list).await?;
            let day = |prefix: &CommonPrefix| {
                let name = prefix.prefix()?.strip_prefix("lake/dt=")?;
                LakeDay::parse(name.strip_suffix('/')?)
            };
            days.extend(page.common_prefixes().iter().filter_map(day));
            next = page.next_continuation_token;
            if next.is_none() {
                return Ok(days);
            }
        }
    }

    /// Makes a day Parquet, which must be over, and nothing of it still on its way; how many records it holds. `None`: it is
    /// Parquet already, or there is nothing.
    ///
    /// # Errors
    /// A query fails, or the day changes meanwhile: the objects are read as before.
    pub async fn compact(&self, day: &LakeDay, now_ms: i64) -> PortResult<Option<u64>> {
        let day = day.as_str();
        let objects = self.history.list(&objects_of(day)).await?;
        let current = self.history.current_of(day, day).await?;
        if objects.is_empty() || !current.is_empty() {
            return Ok(None);
        }
        let prefix = format!("{}run={:016x}/", files_of(day), random_below(u64::MAX));
        let location = format!("s3://{}/{prefix}", self.history.bucket);
        let unload = sql::fill(sql::COMPACT, &[("day", day), ("location", &location)]);
        let query = self.athena.run(&unload).await?;
        self.athena.forget(&query).await?;
        // From here on the table may be asked for it, though no recount is.
        self.history.put(day, &prefix, None).await?;
        let (of_objects, of_files) = (
            self.held(day, sql::OBJECTS).await?,
            self.held(day, sql::HISTORY).await?,
        );
        if of_objects != of_files {
            self.history.forget(day).await?;
            return Err(PortError::rejected(format!(
                "the Parquet of {day} holds something else"
            )));
        }
        let files = self.history.list(&prefix).await?;
        if self.history.list(&objects_of(day)).await?.hash() != objects.hash() {
            return Err(PortError::unavailable(format!(
                "{day} changed while it was made Parquet"
            )));
        }
        // Only this try ever names this place: where the table still reads from it, what was compared is what lies here.
        if self.history.location(day).await?.as_deref() != Some(&*location) {
            return Err(PortError::unavailable(format!("another run makes {day} Parquet")));
        }
        self.history.put(day, &prefix, Some((&objects, &files))).await?;
        let all = self.history.list(&files_of(day)).await?;
        let old = all.before((now_ms - DAY_MS).div_euclid(1_000));
        let old = old.filter(|key| !key.starts_with(&prefix));
        // Nobody reads it: the next try at this day deletes it, or its age does.
        if let Err(error) = self.history.delete(old).await {
            tracing::warn!(day, %error, "what an earlier compaction left could not be deleted");
        }
        Ok(Some(records(&of_objects)?))
    }

    /// What a form of the day holds.
    async fn held(&self, day: &str, form: &str) -> PortResult<Vec<csv::StringRecord>> {
        let ask = sql::fill(sql::HELD, &[("day", day), ("form", form)]);
        let query = self.athena.run(&ask).await?;
        let rows = self.athena.rows(&query).await?;
        self.athena.forget(&query).await?;
        Ok(rows)
    }
}

fn records(held: &[csv::StringRecord]) -> PortResult<u64> {
    let mut sum = 0;
    for row in held {
        sum += super::clicks::field::<u64>(row, 2, "records")?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates_and_nothing_else() {
        let day = LakeDay::of(DayNumber(20_455));
        assert_eq!(day.as_str(), "2026-01-02");
        assert_eq!(LakeDay::parse("2026-01-02"), Some(day));
        for text in [
            "",
            "2026-1-2",
            "2026-01-02/",
            "2026-01-0x",
            "2026'01'02",
            "12026-01-2",
        ] {
            assert_eq!(LakeDay::parse(text), None, "{text}");
        }
    }
}
