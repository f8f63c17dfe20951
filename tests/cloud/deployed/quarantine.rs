//! What lies on the stream and is no click.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clickledger_tests::until;
use serde_json::Value;

use crate::lake::{keys, object};
use crate::world::{PATIENCE, World};

pub(crate) fn garbage_is_put_away_and_counting_goes_on(world: &World) -> Result<()> {
    let (_, ad, slot) = world.shown_ad()?;
    ensure!(keys(world, "quarantine/")?.is_empty());
    let stream = world.stack.output("StreamName")?;
    let garbage: [&[u8]; 2] = [b"no click\n", b"{\"v\":9,\"click_id\":1}\n\xff"];
    let mut at = Vec::new();
    for bytes in garbage {
        // On the shard of the ad's clicks, so that one batch may hold both.
        let put = world.stack.aws.kinesis().put_record().stream_name(stream);
        let put = put.partition_key(format!("{ad}#0")).data(bytes.to_vec().into());
        let put = world.stack.wait(put.send())?;
        at.push((put.shard_id, put.sequence_number));
    }
    World::redirected(&world.click(&ad, Some(&world.show(&slot)?.token))?)?;
    world.counted(&ad, &[("valid", 1)])?;
    let found = until("both are in the quarantine", PATIENCE, || {
        let found = keys(world, "quarantine/")?;
        Ok((found.len() >= garbage.len()).then_some(found))
    })?;
    ensure!(found.len() == garbage.len(), "{found:?}");
    for (bytes, (shard, number)) in garbage.into_iter().zip(at) {
        // The emulator writes sequence numbers with zeros in front; AWS has none.
        let place = format!("/{shard}/{}-", number.trim_start_matches('0'));
        let key = found.iter().find(|key| key.contains(&place));
        let key = key.with_context(|| format!("{found:?} hold nothing of {place}"))?;
        ensure!(
            key.starts_with("quarantine/dt=") && key.ends_with(".json"),
            "{key}"
        );
        let kept: Value = serde_json::from_slice(&object(world, key)?.body)?;
        let kept_bytes = STANDARD.decode(kept["bytes_base64"].as_str().context("bytes")?)?;
        ensure!(kept_bytes == bytes, "{kept}");
        ensure!(!kept["reason"].as_str().context("a reason")?.is_empty(), "{kept}");
    }
    Ok(())
}
