//! `clickledger ads`.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::output;
use crate::config::TargetArgs;

/// What to do with ads.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an ad
    #[command(
        after_help = "Example:\n  clickledger ads create --advertiser 9 --campaign 12 --url https://example.com/ --title Hello"
    )]
    Create(Create),
    /// List ads, in the order of their ids
    #[command(after_help = "Example:\n  clickledger ads list --advertiser 9")]
    List(List),
    /// Show an ad
    #[command(after_help = "Example:\n  clickledger ads get 731")]
    Get(Get),
    /// Change an ad; what is not named stays
    #[command(
        after_help = "Examples:\n  clickledger ads update 731 --status paused\n  clickledger ads update 731 --url https://example.com/new --if-version 3"
    )]
    Update(Update),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    /// Shown, and its clicks count
    Active,
    /// Not shown; clicks redirect and are not valid
    Paused,
    /// As paused
    Archived,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Whose it is; never changes
    #[arg(long, value_name = "ID")]
    advertiser: AdvertiserId,
    /// Which campaign it belongs to
    #[arg(long, value_name = "ID")]
    campaign: CampaignId,
    /// Where a click leads: an absolute http or https URL, at most 2048 bytes
    #[arg(long)]
    url: String,
    /// What the ad says, at most 200 characters
    #[arg(long)]
    title: Option<String>,
    /// URL of its picture
    #[arg(long, value_name = "URL")]
    image: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this advertiser's
    #[arg(long, value_name = "ID")]
    advertiser: Option<AdvertiserId>,
    /// Only this campaign's
    #[arg(long, value_name = "ID")]
    campaign: Option<CampaignId>,
    /// At most so many ads
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The ad
    #[arg(value_name = "ID")]
    ad: AdId,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[group(id = "changes", required = true, multiple = true, args = ["url", "title", "image", "status", "campaign", "fan_out"])]
pub(crate) struct Update {
    /// The ad
    #[arg(value_name = "ID")]
    ad: AdId,
    /// Where a click leads
    #[arg(long)]
    url: Option<String>,
    /// What the ad says; an empty text takes the title away
    #[arg(long)]
    title: Option<String>,
    /// URL of its picture; an empty text takes it away
    #[arg(long, value_name = "URL")]
    image: Option<String>,
    /// Whether it is shown and counted
    #[arg(long)]
    status: Option<Status>,
    /// Which campaign it belongs to; clicks stay where they were
    #[arg(long, value_name = "ID")]
    campaign: Option<CampaignId>,
    /// Over how many partition keys its clicks are spread: a power of two
    #[arg(long, value_name = "N")]
    fan_out: Option<u32>,
    /// Only if the ad still has this version
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
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
    fn show(&self, ad: &Value) -> Result<()> {
        if self.json {
            output::json(ad)
        } else {
            output::fields(ad)
        }
    }
}

impl Command {
    /// Does it.
    pub(crate) fn run(&self) -> Result<()> {
        match self {
            Self::Create(create) => create.run(),
            Self::List(list) => list.run(),
            Self::Get(get) => {
                let api = Api::new(&get.common.target)?;
                let url = api.url(&["v1", "ads", &get.ad.to_string()])?;
                get.common.show(&api.get(&url)?.json)
            }
            Self::Update(update) => update.run(),
        }
    }
}

impl Create {
    fn run(&self) -> Result<()> {
        let api = Api::new(&self.common.target)?;
        let mut ad = json!({
            "advertiser_id": self.advertiser,
            "campaign_id": self.campaign,
            "redirect_url": self.url,
        });
        for (name, value) in [("title", &self.title), ("image_url", &self.image)] {
            if let Some(value) = value {
                ad[name] = value.as_str().into();
            }
        }
        let made = api.send("POST", &api.url(&["v1", "ads"])?, Some(&ad))?;
        self.common.show(&made.json)
    }
}

impl List {
    fn run(&self) -> Result<()> {
        let api = Api::new(&self.common.target)?;
        let mut url = api.url(&["v1", "ads"])?;
        let filters = [
            ("advertiser_id", self.advertiser.map(|id| id.to_string())),
            ("campaign_id", self.campaign.map(|id| id.to_string())),
        ];
        for (name, id) in filters {
            if let Some(id) = id {
                url.query_pairs_mut().append_pair(name, &id);
            }
        }
        let ads = api.items(&url, self.limit)?;
        if self.common.json {
            output::json(&json!({ "items": ads }))
        } else {
            output::items(
                &ads,
                &[
                    "ad_id",
                    "campaign_id",
                    "advertiser_id",
                    "status",
                    "title",
                    "redirect_url",
                ],
            )
        }
    }
}

impl Update {
    fn run(&self) -> Result<()> {
        let api = Api::new(&self.common.target)?;
        let mut patch = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                patch.insert(name.to_owned(), value);
            }
        };
        // A merge patch takes away what it sets to null.
        let or_nothing = |text: &String| {
            if text.is_empty() {
                Value::Null
            } else {
                text.as_str().into()
            }
        };
        set("redirect_url", self.url.as_deref().map(Value::from));
        set("title", self.title.as_ref().map(or_nothing));
        set("image_url", self.image.as_ref().map(or_nothing));
        set("campaign_id", self.campaign.map(|id| id.to_string().into()));
        set("fan_out", self.fan_out.map(Value::from));
        let status = self.status.and_then(|status| {
            status
                .to_possible_value()
                .map(|value| Value::from(value.get_name()))
        });
        set("status", status);
        let url = api.url(&["v1", "ads", &self.ad.to_string()])?;
        let changed = api.call("PATCH", &url, Some(&Value::Object(patch)), self.if_version)?;
        self.common.show(&changed.json)
    }
}
