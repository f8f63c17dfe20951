//! Where settings come from.
//!
//! Invariant: a value is never used without its source being known, so that every error can name it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::ServeArgs;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the setting {name}{shown} ({source_name}) must be {must_be}")]
pub(crate) struct BadSetting {
    name: &'static str,
    /// ` = "value"`, or nothing for a secret.
    shown: String,
    source_name: String,
    must_be: &'static str,
}

/// A settings file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadFile {
    #[error("the settings file {} cannot be read: {source}", .path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the settings file {} is not TOML: {source}", .path.display())]
    NotToml {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
    #[error("the settings file {} has a setting {name:?}: there are only {known}", .path.display())]
    Unknown {
        path: PathBuf,
        name: String,
        known: String,
    },
}

const NAMES: [&str; 17] = [
    "listen",
    "data",
    "shards",
    "max_connections",
    "proxy_hops",
    "proxy_secret",
    "proxy_secret_header",
    "proxy_forwarding",
    "country_header",
    "admin_key",
    "rate_limit",
    "admin_rate_limit",
    "reconcile_every",
    "compact_after",
    "close_after",
    "log_format",
    "log",
];

/// Where a value came from.
#[derive(Clone, PartialEq, Eq)]
enum Source {
    Flag,
    Environment,
    File(PathBuf),
}

pub(super) struct Sources {
    found: BTreeMap<&'static str, (Source, OsString)>,
}

fn variable(name: &str) -> String {
    format!("CLICKLEDGER_{}", name.to_ascii_uppercase())
}

impl Sources {
    pub(super) fn of(
        args: &ServeArgs,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, BadFile> {
        let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
        let path = args
            .config
            .clone()
            .or_else(|| environment("CLICKLEDGER_CONFIG").map(PathBuf::from));
        let mut found = match &path {
            Some(path) => file(path)?,
            None => BTreeMap::new(),
        };
        for name in NAMES {
            if let Some(value) = environment(&variable(name)) {
                found.insert(name, (Source::Environment, value));
            }
        }
        for (name, flag) in [
            ("listen", &args.listen),
            ("data", &args.data),
            ("shards", &args.shards),
            ("max_connections", &args.max_connections),
            ("proxy_hops", &args.proxy_hops),
            ("reconcile_every", &args.reconcile_every),
            ("compact_after", &args.compact_after),
            ("close_after", &args.close_after),
            ("log_format", &args.log_format),
            ("log", &args.log),
        ] {
            if let Some(value) = flag {
                found.insert(name, (Source::Flag, value.into()));
            }
        }
        Ok(Self { found })
    }

    /// The setting, if it is given anywhere.
    pub(super) fn get<T>(
        &self,
        name: &'static str,
        must_be: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, BadSetting> {
        let Some((source, value)) = self.found.get(name) else {
            return Ok(None);
        };
        let parsed = value.to_str().and_then(parse);
        parsed.map(Some).ok_or_else(|| BadSetting {
            name,
            shown: if name.ends_with("_key") || name.ends_with("_secret") {
                String::new()
            } else {
                format!(" = {value:?}")
            },
            source_name: match source {
                Source::Flag => format!("from --{}", name.replace('_', "-")),
                Source::Environment => format!("from {}", variable(name)),
                Source::File(path) => format!("in {}", path.display()),
            },
            must_be,
        })
    }
}

fn file(path: &Path) -> Result<BTreeMap<&'static str, (Source, OsString)>, BadFile> {
    let text = std::fs::read_to_string(path).map_err(|source| BadFile::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let table: toml::Table = text.parse().map_err(|source| BadFile::NotToml {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let mut found = BTreeMap::new();
    for (name, value) in table {
        let Some(known) = NAMES.into_iter().find(|known| *known == name) else {
            return Err(BadFile::Unknown {
                path: path.to_owned(),
                name,
                known: NAMES.join(", "),
            });
        };
        let text = match value {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        found.insert(known, (Source::File(path.to_owned()), text.into()));
    }
    Ok(found)
}
