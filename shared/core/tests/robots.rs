//! The list of robots is the crate's of which it was taken, and says what the crate says.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::path::PathBuf;
use std::process::Command;

use clickledger_core::domain::agent::is_robot;

const LIST: &str = include_str!("../src/domain/agent/robots.txt");

/// Where cargo has put the crate's sources.
#[allow(clippy::disallowed_methods)] // Cargo says by its environment which cargo runs.
fn sources() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let told = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let mut packages = told["packages"].as_array().unwrap().iter();
    let found = packages.find(|package| package["name"] == "iscrawl").unwrap();
    let manifest = PathBuf::from(found["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().to_owned()
}

#[test]
fn the_list_is_the_crates() {
    let list = std::fs::read_to_string(sources().join("crawlers.min.json")).unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    let theirs: Vec<&str> = list
        .iter()
        .map(|robot| robot["pattern"].as_str().unwrap())
        .collect();
    let ours: Vec<&str> = LIST.lines().collect();
    assert!(
        ours == theirs,
        "the crate has another list than shared/core/src/domain/agent/robots.txt: put its patterns there, one a line, and say so \
         in the CHANGELOG, since verdicts change"
    );
}

#[test]
fn it_says_what_the_crate_says_of_every_agent_that_the_crate_is_tested_with() {
    let folder = sources().join("tests/fixtures");
    let (mut robots, mut agents) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for agent in text.lines().map(str::trim).filter(|agent| !agent.is_empty()) {
            let robot = iscrawl::crawler_info(agent).is_some();
            assert_eq!(is_robot(Some(agent)), robot, "{agent}");
            robots += usize::from(robot);
            agents += 1;
        }
    }
    assert!(
        agents > 20_000 && robots > 3_000 && agents - robots > 15_000,
        "{robots} of {agents}"
    );
}

#[test]
fn every_pattern_of_the_list_is_met_by_itself() {
    let mut met = 0;
    for pattern in LIST.lines() {
        let agent: String = pattern.split('\\').collect();
        assert_eq!(
            is_robot(Some(&agent)),
            iscrawl::crawler_info(agent.trim()).is_some(),
            "{agent}"
        );
        met += usize::from(is_robot(Some(&agent)));
    }
    assert!(met > 2_800, "{met}");
}

#[test]
fn texts_that_are_no_agents_are_judged_as_the_crate_judges_them() {
    for agent in [
        "a",
        "ab",
        "abc",
        "Yeti",
        "xYetix",
        "äöü",
        "\u{1f916} Googlebot/",
        "Y!",
        "Y!J",
        "curl",
        " curl",
        "LCC x",
    ] {
        assert_eq!(
            is_robot(Some(agent)),
            iscrawl::crawler_info(agent.trim()).is_some(),
            "{agent}"
        );
    }
}
