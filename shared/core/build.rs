//! Turns the list of robots (`src/domain/agent/robots.txt`, one pattern a line) into tables that need nothing to be built when a
//! process starts: compiling the list then took longer than all the rest of a function's start.

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use regex_syntax::hir::literal::{ExtractKind, Extractor};

const LIST: &str = "src/domain/agent/robots.txt";
/// A shorter text would be found in most user agents.
const SHORTEST: usize = 3;
/// Of the filter, 64 bits each.
const FILTER_WORDS: usize = 1_024;

include!("src/domain/agent/head.in");

/// The text that a pattern stands for, where it is plain.
fn plain(pattern: &str) -> Option<Vec<u8>> {
    let parsed = regex_syntax::parse(pattern).ok()?;
    match parsed.kind() {
        regex_syntax::hir::HirKind::Literal(literal) => Some(literal.0.to_vec()),
        _ => None,
    }
}

/// Texts one of which stands in whatever the pattern matches.
fn needed(pattern: &str) -> Option<Vec<Vec<u8>>> {
    let parsed = regex_syntax::parse(pattern).ok()?;
    let shortest = |texts: &Vec<Vec<u8>>| texts.iter().map(Vec::len).min().unwrap_or(0);
    [ExtractKind::Prefix, ExtractKind::Suffix]
        .into_iter()
        .filter_map(|kind| {
            let found = Extractor::new().kind(kind).extract(&parsed);
            Some(
                found
                    .literals()?
                    .iter()
                    .map(|text| text.as_bytes().to_vec())
                    .collect(),
            )
        })
        .filter(|texts| shortest(texts) >= SHORTEST)
        .max_by_key(shortest)
}

#[allow(clippy::disallowed_methods)] // Cargo says by the environment where to write.
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={LIST}");
    println!("cargo::rerun-if-changed=src/domain/agent/head.in");
    println!("cargo::rerun-if-changed=build.rs");
    // A text, and the pattern that must match where it is found, if it is not the pattern itself.
    let mut texts: Vec<(Vec<u8>, Option<usize>)> = Vec::new();
    let (mut patterns, mut always) = (Vec::new(), Vec::new());
    for pattern in fs::read_to_string(LIST)?.lines() {
        match plain(pattern) {
            Some(text) if text.len() >= SHORTEST => texts.push((text, None)),
            // One has a look-around, which means nothing to the crate's own matcher either.
            _ if regex_syntax::parse(pattern).is_err() => {}
            _ => {
                let place = patterns.len();
                patterns.push(pattern.to_owned());
                match needed(pattern) {
                    Some(needed) => texts.extend(needed.into_iter().map(|text| (text, Some(place)))),
                    None => always.push(place),
                }
            }
        }
    }
    texts.sort();
    let mut filter = [0_u64; FILTER_WORDS];
    for (text, _) in &texts {
        let place = head_place([text[0], text[1], text[2]]);
        filter[place / 64] |= 1 << (place % 64);
    }
    let mut code = String::new();
    writeln!(code, "static TEXTS: [(&[u8], u16); {}] = [", texts.len())?;
    for (text, pattern) in &texts {
        let pattern = pattern.map_or(Ok(u16::MAX), u16::try_from)?;
        writeln!(code, "    (b\"{}\", {pattern}),", text.escape_ascii())?;
    }
    writeln!(
        code,
        "];\nstatic PATTERNS: [&str; {}] = {patterns:#?};",
        patterns.len()
    )?;
    writeln!(code, "static ALWAYS: [u16; {}] = {always:?};", always.len())?;
    writeln!(code, "static FILTER: [u64; {FILTER_WORDS}] = {filter:?};")?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("robots.rs"), code)?;
    Ok(())
}
