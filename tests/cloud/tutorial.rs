//! docs/TUTORIAL.md, its part on the local AWS, run word for word, and after it the parts that are to be done again there.
//!
//! The only command that is not run is the one that builds the functions: those of this test's own profile stand where it would
//! put them.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clickledger_tests::server;
use clickledger_tests::walkthrough::{Block, Walk, blocks, clone_into, stand_in};
use clickledger_tests_cloud::functions;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const TUTORIAL: &str = include_str!("../../docs/TUTORIAL.md");

/// Where `scripts/emulator-venv` has put something, installed now where it was not.
fn installed(what: &[&str]) -> Result<String> {
    let output = Command::new(Path::new(ROOT).join("scripts/emulator-venv"))
        .args(what)
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Ends the emulator that the tutorial has started, also when a block of it has failed.
struct Down<'a>(&'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _ = Command::new(self.0.join("scripts/emulator"))
            .arg("down")
            .current_dir(self.0)
            .output();
    }
}

#[test]
fn the_tutorial_does_what_it_says_on_the_local_aws() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let folder = dir.path().join("clickledger");
    std::fs::create_dir(&folder)?;
    clone_into(&folder)?;
    // Of a target folder of its own, only what takes long to make is there already.
    let emulator = folder.join("target/emulator");
    std::fs::create_dir(&emulator)?;
    symlink(installed(&[])?, emulator.join("ministack"))?;
    symlink(installed(&["tools"])?, emulator.join("tools"))?;
    symlink(functions::folder()?, folder.join("target/ci"))?;
    let programs = dir.path().join("programs");
    std::fs::create_dir(&programs)?;
    symlink(server::binary()?, programs.join("clickledger"))?;
    // `scripts/functions` builds by cargo alone.
    stand_in(&programs, "cargo", &["build --locked --profile ci --package …"])?;

    let all = blocks(TUTORIAL, "sh");
    let part = |part: &str| -> Vec<Block> {
        let of_part = all.iter().filter(|block| block.section.starts_with(part));
        of_part.cloned().collect()
    };
    let (mut deploy, again) = (part("6."), [part("3."), part("4.")].concat());
    let down = deploy.pop().context("the block that ends it")?;
    ensure!(down.text.trim() == "scripts/emulator down", "{down:?}");
    ensure!(deploy.len() >= 2 && again.len() >= 6, "blocks are missing");

    let mut walk = Walk::begin(&folder, &[&programs], &[])?;
    let _down = Down(&folder);
    for block in deploy.iter().chain(&again).chain([&down]) {
        walk.run(block)?;
    }
    Ok(())
}
