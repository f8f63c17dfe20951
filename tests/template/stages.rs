//! The stages of samconfig.toml and the arithmetic that CloudFormation cannot do.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cloudformation::{properties, template, text};

/// Room above the expected peak.
const HEADROOM: f64 = 1.5;

/// What a stage sets, over the template's defaults.
fn parameters(template: &Value, stage: &toml::Value) -> BTreeMap<String, String> {
    let defaults = template["Parameters"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, parameter)| {
            let default = match &parameter["Default"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (name.clone(), default)
        });
    let mut parameters: BTreeMap<String, String> = defaults.collect();
    for pair in stage["deploy"]["parameters"]["parameter_overrides"]
        .as_array()
        .unwrap()
    {
        let (name, value) = pair.as_str().unwrap().split_once('=').unwrap();
        let old = parameters.insert(name.to_owned(), value.to_owned());
        assert!(old.is_some(), "the template has no parameter {name}");
    }
    parameters
}

fn stages() -> Vec<(String, BTreeMap<String, String>)> {
    let template = template("template.yaml");
    let config: toml::Table = text("samconfig.toml").parse().unwrap();
    let stages: Vec<_> = config
        .iter()
        .filter(|(_, stage)| stage.get("deploy").is_some())
        .map(|(name, stage)| (name.clone(), parameters(&template, stage)))
        .collect();
    assert_eq!(stages.len(), 3);
    stages
}

#[test]
fn peaks_become_shards_warm_writes_and_settlers_with_headroom() {
    let template = template("template.yaml");
    let peaks = template["Mappings"]["Peak"].as_object().unwrap();
    let allowed = &template["Parameters"]["PeakClicksPerSecond"]["AllowedValues"];
    assert_eq!(allowed.as_array().unwrap().len(), peaks.len());
    for peak in allowed.as_array().unwrap() {
        let peak = peak.as_str().unwrap();
        let clicks: f64 = peak.parse().unwrap();
        let sizes = &peaks[peak];
        // Kinesis takes 1,000 records/s a shard.
        assert_eq!(
            sizes["Shards"].as_f64().unwrap(),
            (clicks * HEADROOM / 1000.0).ceil(),
            "{peak}"
        );
        // A click is one write unit of claims; 4,000/s is what a new table has anyway, and the least that may be asked.
        assert_eq!(
            sizes["Writes"].as_f64().unwrap(),
            (clicks * HEADROOM).max(4000.0),
            "{peak}"
        );
        assert_eq!(
            sizes["Settlers"].as_f64().unwrap(),
            (clicks / 1000.0).ceil().max(2.0),
            "{peak}"
        );
    }
    let stream = properties(&template, "ClickStream");
    assert_eq!(stream["ShardCount"]["Fn::If"][1]["Fn::FindInMap"][2], "Shards");
    for table in ["ClaimsTable", "BucketsTable"] {
        let warm = &properties(&template, table)["WarmThroughput"];
        assert_eq!(
            warm["WriteUnitsPerSecond"]["Fn::FindInMap"][2], "Writes",
            "{table}"
        );
        assert_eq!(warm["ReadUnitsPerSecond"], 12_000, "{table}");
    }
}

#[test]
fn every_stage_throttles_clicks_above_its_peak_only() {
    for (name, parameters) in stages() {
        let number = |name: &str| parameters[name].parse::<f64>().unwrap();
        let peak = number("PeakClicksPerSecond");
        assert!(number("ClickRateLimit") >= HEADROOM * peak, "{name}");
        assert!(number("ClickBurstLimit") >= peak, "{name}");
        assert!(
            number("ApiRateLimit") >= peak,
            "{name}: a click has an impression before it"
        );
    }
}

#[test]
fn stages_keep_the_lake_longer_than_it_is_needed_and_keys_longer_than_tokens_live() {
    for (name, parameters) in stages() {
        let number = |name: &str| parameters[name].parse::<u64>().unwrap();
        assert!(
            number("LakeColdAfterDays") < number("LakeExpireAfterDays"),
            "{name}"
        );
        // A signing key is honoured as the previous one for as long as it signed: tokens live one day.
        assert!(number("TokenKeyRotationDays") >= 2, "{name}");
        // Heartbeats are a minute apart, and a delivered object is never shorter.
        assert!(number("LakeBufferSeconds") >= 60, "{name}");
        assert_eq!(parameters["RequireTls"], "true", "{name}");
        assert_eq!(
            parameters["DeletionProtection"] == "true",
            name == "prod",
            "{name}"
        );
    }
}

#[test]
fn functions_are_built_for_the_processors_that_they_are_deployed_to() {
    let architecture = |stage: &toml::Value, of: &str| {
        let overrides = stage
            .get(of)?
            .get("parameters")?
            .get("parameter_overrides")?
            .as_array()?;
        let found = overrides
            .iter()
            .find_map(|pair| pair.as_str()?.strip_prefix("Architecture="));
        found.map(str::to_owned)
    };
    let config: toml::Table = text("samconfig.toml").parse().unwrap();
    for (name, stage) in config.iter().filter(|(_, stage)| stage.is_table()) {
        assert_eq!(
            architecture(stage, "build"),
            architecture(stage, "deploy"),
            "{name}"
        );
    }
}

#[test]
fn stages_differ_in_the_names_of_their_stacks() {
    let config: toml::Table = text("samconfig.toml").parse().unwrap();
    let mut names: Vec<&str> = config
        .values()
        .filter_map(|stage| {
            stage
                .get("deploy")?
                .get("parameters")?
                .get("stack_name")?
                .as_str()
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 3);
}
