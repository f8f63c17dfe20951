//! Forgetting what every consumer is done with and retention no longer asks for.

use rusqlite::{Connection, OptionalExtension};

use crate::failure::Failure;
use crate::schema;
use crate::segment::Records;

/// Segments that one commit group forgets, at most: clicks wait for their group.
const SEGMENTS: usize = 50;

/// A shard's oldest segment.
pub(crate) const OLDEST: &str =
    "SELECT first, last, arrived_ms FROM stream WHERE shard = ?1 ORDER BY last LIMIT 1";
/// Forgets a segment.
pub(crate) const DELETE: &str = "DELETE FROM stream WHERE last = ?1";

/// What one group forgot.
pub(crate) struct Trimmed {
    pub(crate) records: usize,
    /// Whether there may be more.
    pub(crate) more: bool,
}

/// Forgets at most `limit` records that arrived before `before_ms` and that all of `consumers` are done with, and closed
/// shards that nothing refers to any more; as many as one commit group should.
pub(crate) fn trim(
    conn: &Connection,
    consumers: &[String],
    before_ms: i64,
    limit: usize,
) -> Result<Trimmed, Failure> {
    let mut segments = SEGMENTS;
    let mut left = i64::try_from(limit).unwrap_or(i64::MAX);
    let shards: Vec<i64> = conn
        .prepare_cached("SELECT shard FROM shards ORDER BY shard")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut trimmed_to = schema::meta(conn, "trimmed_to")?.unwrap_or(0);
    for shard in shards {
        let Some(done) = done_by_all(conn, consumers, shard)? else {
            continue;
        };
        while left > 0
            && segments > 0
            && let Some(oldest) = oldest(conn, shard)?
        {
            // As far as consumers, limit and the segment itself allow.
            let up_to = done.min(oldest.last).min(oldest.first.saturating_add(left - 1));
            if oldest.arrived_ms >= before_ms || up_to < oldest.first {
                break;
            }
            // Numbers that were given out are never given out again, also when no record is left to tell.
            if up_to > trimmed_to {
                trimmed_to = up_to;
                schema::put_meta(conn, "trimmed_to", trimmed_to)?;
            }
            cut(conn, &oldest, up_to)?;
            left -= up_to - oldest.first + 1;
            segments -= 1;
        }
    }
    forget_closed(conn, before_ms)?;
    Ok(Trimmed {
        records: limit - usize::try_from(left).unwrap_or(0).min(limit),
        more: left > 0 && segments == 0,
    })
}

fn done_by_all(conn: &Connection, consumers: &[String], shard: i64) -> rusqlite::Result<Option<i64>> {
    let mut least = i64::MAX;
    for consumer in consumers {
        let done: Option<i64> = conn
            .prepare_cached("SELECT done FROM positions WHERE shard = ?1 AND consumer = ?2")?
            .query_row((shard, consumer), |row| row.get(0))
            .optional()?;
        least = least.min(done.unwrap_or(0));
    }
    Ok((least > 0).then_some(least))
}

struct Segment {
    first: i64,
    last: i64,
    arrived_ms: i64,
}

fn oldest(conn: &Connection, shard: i64) -> rusqlite::Result<Option<Segment>> {
    conn.prepare_cached(OLDEST)?
        .query_row([shard], |row| {
            Ok(Segment {
                first: row.get(0)?,
                last: row.get(1)?,
                arrived_ms: row.get(2)?,
            })
        })
        .optional()
}

fn cut(conn: &Connection, segment: &Segment, up_to: i64) -> Result<(), Failure> {
    if up_to == segment.last {
        conn.prepare_cached(DELETE)?.execute([segment.last])?;
        return Ok(());
    }
    let bytes: Vec<u8> = conn
        .prepare_cached("SELECT records FROM stream WHERE last = ?1")?
        .query_row([segment.last], |row| row.get(0))?;
    let mut records = Records::of(&bytes);
    for record in records
        .by_ref()
        .take(usize::try_from(up_to - segment.first + 1).unwrap_or(0))
    {
        record?;
    }
    conn.prepare_cached("UPDATE stream SET first = ?2, records = ?3 WHERE last = ?1")?
        .execute((segment.last, up_to + 1, records.rest()))?;
    Ok(())
}

/// Forgets shards that were closed before `before_ms` and have neither records nor a lane log nor a known parent: as
/// long as a shard is known, so is the way from its children to its ancestors.
fn forget_closed(conn: &Connection, before_ms: i64) -> rusqlite::Result<()> {
    const FORGOTTEN: &str = "SELECT shard FROM shards s WHERE closed_ms < ?1
        AND NOT EXISTS (SELECT 1 FROM stream WHERE stream.shard = s.shard)
        AND NOT EXISTS (SELECT 1 FROM lanes WHERE lanes.shard = s.shard)
        AND NOT EXISTS (SELECT 1 FROM shard_parents p WHERE p.shard = s.shard)";
    let shards: Vec<i64> = conn
        .prepare_cached(FORGOTTEN)?
        .query_map([before_ms], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for shard in shards {
        conn.prepare_cached("DELETE FROM shard_parents WHERE parent = ?1")?
            .execute([shard])?;
        conn.prepare_cached("DELETE FROM positions WHERE shard = ?1")?
            .execute([shard])?;
        conn.prepare_cached("DELETE FROM shards WHERE shard = ?1")?
            .execute([shard])?;
    }
    Ok(())
}
