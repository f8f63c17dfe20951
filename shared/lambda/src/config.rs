//! Settings from the environment, read once, at start.
//!
//! Invariant: a missing or bad variable is named in the error, with what it must be; there is no silent default for anything
//! that decides where data goes.

/// A variable that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not there, or empty.
    #[error("the environment variable {0} is missing")]
    Missing(String),
    /// There, but no good.
    #[error("the environment variable {name} must be {must}, not {value:?}")]
    Bad {
        /// Its name.
        name: String,
        /// What it must be.
        must: &'static str,
        /// What it is.
        value: String,
    },
}

/// The variable, where it is set to something.
#[allow(clippy::disallowed_methods)] // the one place of the functions that reads the environment
pub fn optional(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The variable.
///
/// # Errors
/// [`ConfigError::Missing`]
pub fn required(name: &str) -> Result<String, ConfigError> {
    optional(name).ok_or_else(|| ConfigError::Missing(name.to_owned()))
}

/// The variable as a whole number, where it is set.
///
/// # Errors
/// [`ConfigError::Bad`]
pub fn number(name: &str) -> Result<Option<u64>, ConfigError> {
    optional(name)
        .map(|value| {
            value.parse().map_err(|_| ConfigError::Bad {
                name: name.to_owned(),
                must: "a whole number",
                value,
            })
        })
        .transpose()
}
