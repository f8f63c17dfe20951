//! The list of robots, as `build.rs` has cut it into texts: most patterns are plain texts; of the others each has a text without
//! which it cannot match, and is compiled when that is first met.
//!
//! Invariant: an agent is on the list exactly if one of the patterns of `robots.txt` matches somewhere in it.

use std::sync::OnceLock;

use regex::Regex;

include!("head.in");
include!(concat!(env!("OUT_DIR"), "/robots.rs"));

static COMPILED: [OnceLock<Option<Regex>>; PATTERNS.len()] = [const { OnceLock::new() }; PATTERNS.len()];

/// Whether one of the list's patterns matches.
pub(super) fn has(agent: &str) -> bool {
    let bytes = agent.as_bytes();
    let heads = bytes.windows(3).enumerate();
    let mut candidates = heads.filter(|(_, head)| filtered([head[0], head[1], head[2]]));
    candidates.any(|(start, head)| begins(&bytes[start..], head, agent))
        || ALWAYS.iter().any(|place| matches(*place, agent))
}

fn filtered(head: [u8; 3]) -> bool {
    let place = head_place(head);
    FILTER[place / 64] & 1 << (place % 64) != 0
}

/// Whether one of the texts stands here, and its pattern matches.
fn begins(rest: &[u8], head: &[u8], agent: &str) -> bool {
    let first = TEXTS.partition_point(|(text, _)| text[..3] < *head);
    TEXTS[first..]
        .iter()
        .take_while(|(text, _)| text[..3] == *head)
        .any(|(text, pattern)| rest.starts_with(text) && (*pattern == u16::MAX || matches(*pattern, agent)))
}

fn matches(place: u16, agent: &str) -> bool {
    let place = usize::from(place);
    let compiled = COMPILED[place].get_or_init(|| Regex::new(PATTERNS[place]).ok());
    compiled.as_ref().is_some_and(|regex| regex.is_match(agent))
}
