//! `clickledger keys`.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use clickledger_core::domain::api_key::PresentedKey;
use clickledger_core::domain::ids::{AdvertiserId, PlacementId};
use clickledger_core::ports::Entropy;
use clickledger_embedded::SystemEntropy;
use serde_json::{Value, json};

use super::api::Api;
use super::output;
use crate::config::TargetArgs;

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key; it is shown only this once
    #[command(
        after_help = "Examples:\n  clickledger keys create admin\n  clickledger keys create advertiser --advertiser 9 --read-only\n  clickledger keys create publisher --placement 41 --placement 42"
    )]
    Create(Create),
    /// List keys; never their secrets
    #[command(after_help = "Example:\n  clickledger keys list")]
    List(List),
    /// Revoke a key, for good
    #[command(after_help = "Example:\n  clickledger keys revoke Zk3vQ0aB9-xY")]
    Revoke(Which),
    /// Make a new key of the same scope, then revoke the old one
    #[command(after_help = "Example:\n  clickledger keys rotate Zk3vQ0aB9-xY")]
    Rotate(Which),
    /// Print a random key, for CLICKLEDGER_ADMIN_KEY; nothing is stored or sent
    #[command(
        after_help = "Example:\n  CLICKLEDGER_ADMIN_KEY=$(clickledger keys generate) clickledger serve --listen 0.0.0.0:8080"
    )]
    Generate,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scope {
    /// Everything
    Admin,
    /// One advertiser's ads and counts
    Advertiser,
    /// The counts of some placements
    Publisher,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What it may do
    scope: Scope,
    /// Whose; of an advertiser's key
    #[arg(long, value_name = "ID", required_if_eq("scope", "advertiser"))]
    advertiser: Option<AdvertiserId>,
    /// An advertiser's key that may change nothing
    #[arg(long)]
    read_only: bool,
    /// Which placements, by id; of a publisher's key
    #[arg(long = "placement", value_name = "ID", required_if_eq("scope", "publisher"))]
    placements: Vec<PlacementId>,
    #[command(flatten)]
    target: TargetArgs,
    /// Print the API's answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// At most so many keys
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    #[command(flatten)]
    target: TargetArgs,
    /// Print the API's answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The key's public half: what stands between clk_ and the next underscore
    #[arg(value_name = "KEY_ID", allow_hyphen_values = true)]
    key_id: String,
    #[command(flatten)]
    target: TargetArgs,
    /// Print the API's answer as JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Does it.
    pub(crate) fn run(&self) -> Result<()> {
        match self {
            Self::Create(create) => create.run(),
            Self::List(list) => {
                let api = Api::new(&list.target)?;
                let keys = api.items(&api.url(&["v1", "keys"])?, list.limit)?;
                if list.json {
                    return output::json(&json!({ "items": keys }));
                }
                let fields = [
                    "key_id",
                    "scope",
                    "advertiser_id",
                    "read_only",
                    "placement_ids",
                    "created_at",
                    "revoked_at",
                    "last_used_at",
                ];
                output::items(&keys, &fields)
            }
            Self::Revoke(which) => {
                let api = Api::new(&which.target)?;
                let url = api.url(&["v1", "keys", &which.key_id])?;
                let answer = api.send("DELETE", &url, None)?.json;
                match (which.json, answer) {
                    (true, answer) => output::json(&answer),
                    (false, _) => output::line(&format!("revoked {}", which.key_id)),
                }
            }
            Self::Rotate(which) => {
                let api = Api::new(&which.target)?;
                let url = api.url(&["v1", "keys", &which.key_id, "rotate"])?;
                show(&api.send("POST", &url, None)?.json, which.json)
            }
            Self::Generate => {
                let (mut id, mut secret) = ([0; 9], [0; 32]);
                SystemEntropy.fill(&mut id);
                SystemEntropy.fill(&mut secret);
                output::line(&PresentedKey::generate(id, secret).reveal())
            }
        }
    }
}

impl Create {
    fn run(&self) -> Result<()> {
        let api = Api::new(&self.target)?;
        let scope = match self.scope {
            Scope::Admin => json!({"scope": "admin"}),
            Scope::Advertiser => json!({
                "scope": "advertiser",
                "advertiser_id": self.advertiser,
                "read_only": self.read_only,
            }),
            Scope::Publisher => json!({"scope": "publisher", "placement_ids": self.placements}),
        };
        let made = api.send("POST", &api.url(&["v1", "keys"])?, Some(&scope))?;
        show(&made.json, self.json)
    }
}

fn show(made: &Value, json: bool) -> Result<()> {
    if json {
        output::json(made)
    } else {
        output::fields(made)?;
        output::line("The key is shown only this once.")
    }
}
