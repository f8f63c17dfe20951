//! `clickledger placements`.

use anyhow::Result;
use clap::{Args, Subcommand};
use clickledger_core::domain::ids::{AdId, SlotName};
use serde_json::{Value, json};

use super::api::Api;
use super::output;
use crate::config::TargetArgs;

/// What to do with placements.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put ads into a slot; makes the slot if it is not there
    #[command(
        after_help = "Example:\n  clickledger placements set home-top --ad 731 --ad 732:3\n\nputs two ads into the slot; the second is shown three times as often."
    )]
    Set(Set),
    /// List slots, in the order of their names
    #[command(after_help = "Example:\n  clickledger placements list")]
    List(List),
    /// Show a slot's id and its ads
    #[command(after_help = "Example:\n  clickledger placements get home-top")]
    Get(Slot),
    /// Ask for an ad as a publisher's page does: with a signed impression, good for one valid click
    #[command(after_help = "Example:\n  clickledger placements show home-top")]
    Show(Slot),
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The slot's name: small letters, digits and hyphens, at most 64
    #[arg(value_name = "SLOT")]
    slot: SlotName,
    /// An ad that may fill it, with a weight if it is to be shown more often than others; at most 50
    #[arg(long = "ad", value_name = "ID[:WEIGHT]", value_parser = entry)]
    ads: Vec<(AdId, u32)>,
    /// The page that the slot is on
    #[arg(long)]
    site: Option<String>,
    /// Only if the slot still has this version
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// At most so many slots
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Slot {
    /// The slot's name
    #[arg(value_name = "SLOT")]
    slot: SlotName,
    #[command(flatten)]
    common: Common,
}

/// What every command here takes.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    target: TargetArgs,
    /// Print the API's answer as JSON
    #[arg(long)]
    json: bool,
}

impl Common {
    fn show(&self, object: &Value) -> Result<()> {
        if self.json {
            output::json(object)
        } else {
            output::fields(object)
        }
    }
}

fn entry(text: &str) -> Result<(AdId, u32), String> {
    let (ad, weight) = text.split_once(':').unwrap_or((text, "1"));
    match (ad.parse(), weight.parse()) {
        (Ok(ad), Ok(weight)) if weight > 0 => Ok((ad, weight)),
        _ => Err("must be an ad's id, or id:weight with a weight of at least 1".to_owned()),
    }
}

impl Command {
    /// Does it.
    pub(crate) fn run(&self) -> Result<()> {
        match self {
            Self::Set(set) => set.run(),
            Self::List(list) => {
                let api = Api::new(&list.common.target)?;
                let slots = api.items(&api.url(&["v1", "placements"])?, list.limit)?;
                if list.common.json {
                    return output::json(&json!({ "items": slots }));
                }
                let rows = slots.iter().map(|slot| {
                    vec![
                        output::text(&slot["slot"]),
                        output::text(&slot["placement_id"]),
                        ads_of(slot),
                        output::text(&slot["site"]),
                    ]
                });
                output::table(&["slot", "placement_id", "ads", "site"], |_| false, rows)
            }
            Self::Get(slot) => {
                let api = Api::new(&slot.common.target)?;
                let url = api.url(&["v1", "placements", slot.slot.as_str(), "entries"])?;
                slot.common.show(&api.get(&url)?.json)
            }
            Self::Show(slot) => {
                let api = Api::without_key(&slot.common.target)?;
                let url = api.url(&["v1", "placements", slot.slot.as_str()])?;
                slot.common.show(&api.get(&url)?.json)
            }
        }
    }
}

impl Set {
    fn run(&self) -> Result<()> {
        let api = Api::new(&self.common.target)?;
        let entries: Vec<_> = self
            .ads
            .iter()
            .map(|(ad, weight)| json!({"ad_id": ad, "weight": weight}))
            .collect();
        let mut slot = json!({ "entries": entries });
        if let Some(site) = &self.site {
            slot["site"] = site.as_str().into();
        }
        let url = api.url(&["v1", "placements", self.slot.as_str()])?;
        let answer = api.call("PUT", &url, Some(&slot), self.if_version)?;
        self.common.show(&answer.json)
    }
}

fn ads_of(slot: &Value) -> String {
    let entries = slot["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .map(|entry| format!("{}:{}", output::text(&entry["ad_id"]), entry["weight"]))
        .collect::<Vec<_>>()
        .join(" ")
}
