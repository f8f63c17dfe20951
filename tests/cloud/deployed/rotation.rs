//! The signing keys of impressions, rotated as the schedule does it.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::world::{MARK, World};

/// Which key has signed a token.
fn key_of(token: &str) -> Result<u8> {
    let bytes = URL_SAFE_NO_PAD.decode(token)?;
    bytes.get(1).copied().context("a token's second byte")
}

fn secret(world: &World) -> Result<Value> {
    let get = world.stack.aws.secrets().get_secret_value();
    let get = get.secret_id(world.stack.output("TokenSecretArn")?).send();
    let text = world.stack.wait(get)?.secret_string.context("a secret")?;
    Ok(serde_json::from_str(&text)?)
}

/// As the schedule calls it, and as if the ten minutes had passed after which a new key signs.
fn rotate(world: &World) -> Result<()> {
    let maintain = world.stack.output("MaintainFunctionName")?;
    world
        .stack
        .invoke(maintain, &json!({ "task": "rotate-token-keys" }))?;
    // A second time within them it refuses: a third key would push out the one that signs.
    let again = world
        .stack
        .invoke(maintain, &json!({ "task": "rotate-token-keys" }));
    ensure!(again.is_err(), "a key was rotated before it signed: {again:?}");
    let mut keys = secret(world)?;
    for key in keys["signing"].as_array_mut().context("signing keys")? {
        key["signs_from_ms"] = json!(0);
    }
    let put = world.stack.aws.secrets().put_secret_value();
    let put = put
        .secret_id(world.stack.output("TokenSecretArn")?)
        .secret_string(keys.to_string());
    world.stack.wait(put.send())?;
    Ok(())
}

/// New environments of both functions, which load the keys when they start.
fn restart(world: &World, mark: &str) -> Result<()> {
    for function in ["ClickFunctionName", "PlacementFunctionName"] {
        world.with_variables(function, &[(MARK, mark)])?;
    }
    Ok(())
}

pub(crate) fn tokens_of_the_previous_key_are_honoured_and_of_the_one_before_not(world: &World) -> Result<()> {
    let (_, ad, slot) = world.shown_ad()?;
    let show = || Ok::<_, anyhow::Error>(world.show(&slot)?.token);
    let (first, late) = (show()?, show()?);
    ensure!(key_of(&first)? == 1, "the first key");
    rotate(world)?;
    let secret_now = secret(world)?;
    ensure!(
        secret_now["signing"].as_array().map(Vec::len) == Some(2),
        "two keys are kept"
    );
    restart(world, "1")?;
    let second = show()?;
    ensure!(key_of(&second)? == 2, "the second key signs");
    for token in [&first, &second] {
        World::redirected(&world.click(&ad, Some(token))?)?;
    }
    world.counted(&ad, &[("valid", 2)])?;

    let second_late = show()?;
    rotate(world)?;
    restart(world, "2")?;
    let third = show()?;
    ensure!(key_of(&third)? == 3, "the third key signs");
    for token in [&late, &second_late, &third] {
        World::redirected(&world.click(&ad, Some(token))?)?;
    }
    world.counted(&ad, &[("valid", 4), ("bad_token", 1)]).map(drop)
}
