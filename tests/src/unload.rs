//! The emulator's Athena with an UNLOAD, which it lacks: a proxy in front of it that has DuckDB do it.
//!
//! Invariant: every other request is the emulator's. This file needs nothing of its crate but its neighbours `emulator` and
//! `fault_proxy`: `shared/aws/tests` includes it as it is.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::emulator::python;
use super::fault_proxy::{Asked, Fault, FaultProxy};

/// The proxy, and what it was asked.
pub struct Unload {
    proxy: FaultProxy,
    statements: Arc<Mutex<Vec<String>>>,
}

impl Unload {
    /// `http://127.0.0.1:<port>`, without a slash at its end.
    pub fn url(&self) -> String {
        self.proxy.url()
    }

    /// Every statement so far, in order.
    pub fn statements(&self) -> Vec<String> {
        lock(&self.statements).clone()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stands in front of the emulator at this address, for this account.
///
/// # Errors
/// There is no port.
pub fn start(emulator: &str, account: &str) -> Result<Unload> {
    let statements = Arc::<Mutex<Vec<String>>>::default();
    let said = Arc::clone(&statements);
    let (endpoint, account) = (emulator.to_owned(), account.to_owned());
    // What became of the queries that were made here, by their ids.
    let made = Mutex::new(HashMap::<String, String>::new());
    let decide = move |asked: &Asked<'_>| {
        let body: Value = serde_json::from_slice(asked.body).unwrap_or_default();
        let mut made = lock(&made);
        let sql = body["QueryString"].as_str().unwrap_or_default();
        if !sql.is_empty() {
            lock(&said).push(sql.to_owned());
        }
        if asked.operation == "StartQueryExecution" && sql.contains("UNLOAD") {
            let id = format!("00000000-0000-4000-8000-{:012x}", made.len());
            let said = unload(&endpoint, &account, sql)
                .map_or_else(|error| format!("{error:#}"), |()| String::new());
            made.insert(id.clone(), said);
            return Fault::Answer(200, json!({ "QueryExecutionId": id }).to_string());
        }
        let id = body["QueryExecutionId"].as_str().unwrap_or_default();
        match made.get(id) {
            Some(said) if asked.operation == "GetQueryExecution" => {
                let state = if said.is_empty() { "SUCCEEDED" } else { "FAILED" };
                let status = json!({ "State": state, "StateChangeReason": said });
                let execution = json!({ "QueryExecutionId": id, "Status": status });
                Fault::Answer(200, json!({ "QueryExecution": execution }).to_string())
            }
            _ => Fault::Pass,
        }
    };
    let proxy = FaultProxy::start(Some(emulator), decide).context("a proxy for UNLOAD")?;
    Ok(Unload { proxy, statements })
}

fn unload(endpoint: &str, account: &str, sql: &str) -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let script = here
        .map(|folder| folder.join("tests/src/unload.py"))
        .find(|script| script.exists())
        .context("tests/src/unload.py")?;
    let mut python = Command::new(python()?)
        .arg(script)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let request = json!({ "endpoint": endpoint, "account": account, "sql": sql }).to_string();
    python
        .stdin
        .take()
        .context("its standard input")?
        .write_all(request.as_bytes())?;
    let output = python.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}",
        said.lines().last().unwrap_or_default()
    );
    Ok(())
}
