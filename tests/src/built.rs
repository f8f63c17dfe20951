//! What Cargo has built beside a test.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Where Cargo puts executables of the profile that this one was built in: `<target>/<profile>`.
///
/// # Errors
/// This one lies in no such folder.
pub(crate) fn executables() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // <target>/<profile>/deps/<test>, or <target>/<profile>/<program>
    let folder = own.parent().context("an executable lies in a folder")?;
    let outer = if folder.ends_with("deps") {
        folder.parent()
    } else {
        Some(folder)
    };
    Ok(outer.context("deps lies in a folder")?.to_owned())
}

/// The Cargo profile whose executables lie in this folder.
pub(crate) fn profile_of(executables: &Path) -> &str {
    match executables.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    }
}

/// An executable that is as new as its sources.
///
/// # Errors
/// It is not there, or older than one of them.
pub(crate) fn up_to_date(path: &Path) -> Result<PathBuf> {
    let built = std::fs::metadata(path)
        .and_then(|found| found.modified())
        .with_context(|| format!("{} is not built", path.display()))?;
    // Cargo's list of what it was built from: `<executable>: <source> <source> …`, spaces within a name escaped.
    let sources = std::fs::read_to_string(path.with_extension("d")).unwrap_or_default();
    let sources = sources
        .split_once(": ")
        .map_or("", |(_, sources)| sources)
        .replace("\\ ", "\0");
    for source in sources.split_whitespace() {
        let source = source.replace('\0', " ");
        let changed = std::fs::metadata(&source).and_then(|found| found.modified());
        if changed.is_ok_and(|changed| changed > built) {
            bail!("{} is older than {source}", path.display());
        }
    }
    Ok(path.to_owned())
}
