//! `clickledger serve` as a process, in a data folder of its own or a given one.
//!
//! Invariant: the process is killed and waited for when the [`Server`] is dropped.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use tempfile::TempDir;

use crate::{built, until};

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    url: String,
    log: Arc<Mutex<Vec<String>>>,
    _data: Option<TempDir>,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1 with an empty data folder, and waits until it says its address.
    ///
    /// # Errors
    /// It could not be built or started, or did not say its address within 30 s; with what it printed.
    pub fn start() -> Result<Self> {
        let data = tempfile::tempdir()?;
        let mut server = Self::start_with(data.path(), "127.0.0.1:0", &[])?;
        server._data = Some(data);
        Ok(server)
    }

    /// The same with a given data folder, address and further arguments.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(data: &Path, listen: &str, arguments: &[&str]) -> Result<Self> {
        Self::start_in(data, listen, arguments, &[])
    }

    /// The same with further variables in its environment.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_in(
        data: &Path,
        listen: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let mut child = command()?
            .arg("serve")
            .args(["--listen", listen, "--data"])
            .arg(data)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting clickledger serve")?;
        let log = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take(), &log);
        collect(child.stderr.take(), &log);
        let mut server = Self {
            child,
            url: String::new(),
            log,
            _data: None,
        };
        let url = until(
            "the server's address on its output",
            Duration::from_secs(30),
            || {
                if let Some(url) = server.lines().iter().find_map(|line| address(line)) {
                    return Ok(Some(url));
                }
                match server.child.try_wait()? {
                    Some(status) => bail!("serve ended with {status}"),
                    None => Ok(None),
                }
            },
        );
        server.url = url.with_context(|| server.lines().join("\n"))?;
        Ok(server)
    }

    /// `http://127.0.0.1:<port>`, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The key that the first start with an empty data folder prints.
    pub fn printed_key(&self) -> Option<String> {
        self.lines().iter().find_map(|line| {
            let key = &line[line.find("clk_")?..];
            let end = key
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
                .unwrap_or(key.len());
            Some(key[..end].to_owned())
        })
    }

    /// What it printed so far, both outputs.
    pub fn lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// It could not be asked, or goes on for 30 s; with what it printed.
    pub fn stop(mut self) -> Result<ExitStatus> {
        rustix::process::kill_process(self.pid()?, Signal::TERM)?;
        until("the server's end", Duration::from_secs(30), || {
            Ok(self.child.try_wait()?)
        })
        .with_context(|| self.lines().join("\n"))
    }

    /// Lets its files grow to at most so many bytes, or without limit: below their size, a disk that refuses every write.
    ///
    /// # Errors
    /// The system refuses.
    pub fn limit_files(&self, bytes: Option<u64>) -> Result<()> {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        rustix::process::prlimit(Some(self.pid()?), Resource::Fsize, limit)?;
        Ok(())
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.id())?).context("a process has an id")
    }

    /// Ends it as a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// The system could not.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell.
        let _ = self.kill();
    }
}

fn collect(output: Option<impl Read + Send + 'static>, log: &Arc<Mutex<Vec<String>>>) {
    let Some(output) = output else { return };
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
}

fn address(line: &str) -> Option<String> {
    let url = &line[line.find("http://")?..];
    let host = &url["http://".len()..];
    let end = host
        .find(|c: char| !(c.is_ascii_alphanumeric() || ".:[]".contains(c)))
        .unwrap_or(host.len());
    let port: u16 = host[..end].rsplit_once(':')?.1.parse().ok()?;
    (port != 0).then(|| format!("http://{}", &host[..end]))
}

/// The `clickledger` command, with none of its settings in the environment.
///
/// # Errors
/// As [`binary`].
pub fn command() -> Result<Command> {
    let mut command = Command::new(binary()?);
    #[allow(clippy::disallowed_methods)]
    // What the tests' own caller has set is no setting of the server that they start.
    let inherited = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in inherited.filter(|name| name.starts_with("CLICKLEDGER_")) {
        command.env_remove(name);
    }
    Ok(command)
}

/// The `clickledger` command, built in the profile that this test was built in.
///
/// # Errors
/// It does not compile, or the test does not lie in a target folder.
pub fn binary() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))) {
        Ok(path) => Ok(path),
        Err(error) => bail!("{error}"),
    }
}

/// The one that was built with the tests, if it is as new as its sources; else it is built now.
fn build() -> Result<PathBuf> {
    let folder = built::executables()?;
    if let Ok(built) = built::up_to_date(&folder.join("clickledger")) {
        return Ok(built);
    }
    let profile = built::profile_of(&folder);
    let target = folder
        .parent()
        .context("the profile's folder lies in a target folder")?;
    let built = Command::new(cargo())
        .args([
            "build",
            "--locked",
            "--package",
            "clickledger",
            "--features",
            "aws",
            "--profile",
            profile,
        ])
        .args(["--message-format", "json-render-diagnostics", "--target-dir"])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::null())
        .output()
        .context("running cargo build")?;
    if !built.status.success() {
        bail!(
            "clickledger does not compile:\n{}",
            String::from_utf8_lossy(&built.stderr)
        );
    }
    String::from_utf8(built.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "clickledger")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo build named no executable")
}

#[allow(clippy::disallowed_methods)] // Cargo says by its environment which cargo runs.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_what_serve_prints() {
        assert_eq!(
            address("  open http://127.0.0.1:4117/demo").as_deref(),
            Some("http://127.0.0.1:4117")
        );
        assert_eq!(
            address(r#"{"message":"listening","url":"http://[::1]:80"}"#).as_deref(),
            Some("http://[::1]:80")
        );
        assert_eq!(address("http://127.0.0.1:0"), None);
        assert_eq!(address("see http://example.org for more"), None);
        assert_eq!(address("nothing here"), None);
    }
}
