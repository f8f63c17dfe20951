//! docs/TUTORIAL.md, run word for word on the embedded store. Its part on the local AWS is run by `tests/cloud/tutorial.rs`.
//!
//! The only command that is not run is the one that builds: the program of this test's own profile stands where it would put one.

use std::os::unix::fs::symlink;

use anyhow::{Context, Result, ensure};
use clickledger_tests::server::binary;
use clickledger_tests::walkthrough::{Walk, blocks, clone_into, stand_in};

const TUTORIAL: &str = include_str!("../docs/TUTORIAL.md");
/// The first words of the parts that are another suite's, or nobody's.
const ELSEWHERE: [&str; 2] = ["6.", "7."];

#[test]
fn the_tutorial_does_what_it_says_on_the_embedded_store() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let folder = dir.path().join("clickledger");
    std::fs::create_dir(&folder)?;
    clone_into(&folder)?;
    std::fs::create_dir(folder.join("target/release"))?;
    symlink(binary()?, folder.join("target/release/clickledger"))?;
    let programs = dir.path().join("programs");
    std::fs::create_dir(&programs)?;
    stand_in(&programs, "cargo", &["build --release"])?;

    let mut walk = Walk::begin(&folder, &[&programs], &[])?;
    let mut run = 0;
    for block in blocks(TUTORIAL, "sh") {
        if ELSEWHERE.iter().any(|part| block.section.starts_with(part)) {
            continue;
        }
        let log = || std::fs::read_to_string(folder.join("target/serve.log")).unwrap_or_default();
        walk.run(&block).with_context(log)?;
        run += 1;
    }
    ensure!(run >= 14, "only {run} blocks were found");
    Ok(())
}
