//! The local AWS emulator as a process of its own, on a free port of 127.0.0.1.
//!
//! Invariant: the process is ended and waited for when the last handle of the [`Emulator`] is dropped; it is ended by its
//! number, with whatever it has started; also where the test is killed or interrupted, by a guard that waits for that. This file needs nothing of its crate: `shared/aws/tests` includes it as it is.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long it may take to answer, on a busy machine.
const START: Duration = Duration::from_secs(60);
/// How long it may take to end what it has started.
const END: Duration = Duration::from_secs(5);
/// A port that was free a moment ago may be taken by now.
const TRIES: usize = 4;

/// A running emulator.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    guard: Child,
    url: String,
    log: PathBuf,
}

static SHARED: Mutex<Weak<Emulator>> = Mutex::new(Weak::new());

impl Emulator {
    /// The emulator that the tests of this process share, each under an account of its own: it runs as long as one of them
    /// holds it.
    ///
    /// # Errors
    /// As [`Emulator::start`].
    pub fn shared() -> Result<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(Self::start(&[])?);
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    /// Installs the emulator where that was not done yet, and starts it with these further variables.
    ///
    /// # Errors
    /// It could not be installed (no Python, no network) or did not answer; with what it said.
    pub fn start(variables: &[(&str, &str)]) -> Result<Self> {
        let root = root()?;
        let program = install(&root)?.join("bin/ministack");
        let logs = root.join("target/emulator/logs");
        std::fs::create_dir_all(&logs)?;
        let mut failed = None;
        for _ in 0..TRIES {
            match Self::start_once(&program, &logs, variables) {
                Ok(emulator) => return Ok(emulator),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| anyhow::anyhow!("not tried")))
    }

    fn start_once(program: &Path, logs: &Path, variables: &[(&str, &str)]) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let url = format!("http://127.0.0.1:{port}");
        let log = logs.join(format!("{port}.log"));
        let output = std::fs::File::create(&log)?;
        let child = Command::new(program)
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("LAMBDA_EXECUTOR", "local")
            .env("IOT_MTLS_ENABLED", "0")
            // A line for each request would cost it as much as many a request.
            .env("LOG_LEVEL", "WARNING")
            // What its functions inherit.
            .env("AWS_ENDPOINT_URL", &url)
            .envs(variables.iter().copied())
            .current_dir(logs)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let guard = guard(child.id())?;
        let mut emulator = Self {
            child,
            guard,
            url,
            log,
        };
        let deadline = Instant::now() + START;
        while !answers(port) {
            let ended = emulator.child.try_wait()?;
            if ended.is_some() || Instant::now() >= deadline {
                bail!("the emulator did not answer: {}", emulator.said());
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        Ok(emulator)
    }

    /// `http://127.0.0.1:<port>`, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it has printed so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let signal = |name: &str| {
            let _ = Command::new("kill")
                .args([name, "--", &group])
                .stderr(Stdio::null())
                .status();
        };
        signal("-TERM");
        let deadline = Instant::now() + END;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Also what outlived it.
        signal("-KILL");
        let _ = self.child.wait();
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        if !std::thread::panicking() {
            let _ = std::fs::remove_file(&self.log);
        }
    }
}

/// A process that ends the group once this one is gone, however that comes: the pipe that it reads is closed then.
fn guard(group: u32) -> Result<Child> {
    const SCRIPT: &str = r#"cat >/dev/null; kill -s TERM -- "-$0"; sleep 5; kill -s KILL -- "-$0""#;
    Command::new("sh")
        .args(["-c", SCRIPT, &group.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Out of reach of what ends the test.
        .process_group(0)
        .spawn()
        .context("sh")
}

/// The Python that the emulator runs with: it has DuckDB.
///
/// # Errors
/// It could not be installed (no Python, no network).
#[allow(dead_code)] // shared/aws/tests takes this file as a module of its own
pub fn python() -> Result<PathBuf> {
    Ok(install(&root()?)?.join("bin/python"))
}

/// The repository's.
fn root() -> Result<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|folder| folder.join("scripts/emulator-venv").exists());
    found.map(Path::to_owned).context("scripts/emulator-venv")
}

/// The folder that the emulator is installed in.
fn install(root: &Path) -> Result<PathBuf> {
    let output = Command::new(root.join("scripts/emulator-venv"))
        .stdin(Stdio::null())
        .output()
        .context("scripts/emulator-venv")?;
    if !output.status.success() {
        bail!(
            "the AWS emulator could not be installed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// Whether something speaks HTTP on this port, and says that it is well.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream
            .write_all(b"GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.to_vec())
    };
    ask().is_ok_and(|head| head == b"HTTP/1.1 200")
}
