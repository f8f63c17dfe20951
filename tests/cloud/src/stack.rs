//! The whole template, deployed on an emulator of its own by `scripts/emulator deploy`, with the functions' own executables.
//!
//! Invariant: the emulator, and with it every function, ends when the [`Stack`] is dropped.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clickledger_aws::{Aws, Names, Resource, SystemClock, Target};
use clickledger_tests::emulator::Emulator;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::api::Api;
use crate::functions;
use crate::signed::Signed;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const REGION: &str = "us-east-1";
const NAME: &str = "clickledger-tests";
/// What `scripts/emulator` takes by default.
const ACCESS_KEY: &str = "test";
/// A log's page.
const EVENTS: u64 = 10_000;

/// A deployed stack.
pub struct Stack {
    /// Its API.
    pub api: Api,
    /// Clients and names of its resources.
    pub aws: Aws,
    outputs: BTreeMap<String, String>,
    signed: Signed,
    runtime: Runtime,
    emulator: Emulator,
    _run: TempDir,
}

impl Stack {
    /// Starts an emulator and deploys the template with these parameters (`KEY=VALUE`) on it. With `enforce` every function
    /// has the policies of its role and no more.
    ///
    /// # Errors
    /// The functions are not built, the emulator did not start, or the deployment failed; with what was said.
    pub fn deploy(enforce: bool, parameters: &[&str]) -> Result<Self> {
        let binaries = functions::folder()?;
        let auth = if enforce { "true" } else { "false" };
        let emulator = Emulator::start(&[("AUTH", auth), ("MINISTACK_HOST", "127.0.0.1")])?;
        let run = tempfile::tempdir()?;
        let deployed = Command::new(Path::new(ROOT).join("scripts/emulator"))
            .args(["deploy", "--run"])
            .arg(run.path())
            .arg("--binaries")
            .arg(&binaries)
            // It has no TLS, and where it enforces policies it enforces the refusal of what has none.
            .args(enforce.then_some("RequireTls=false"))
            .args(parameters)
            .env("AWS_ENDPOINT_URL", emulator.url())
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", ACCESS_KEY)
            .env("CLICKLEDGER_STACK", NAME)
            .stdin(Stdio::null())
            .output()
            .context("scripts/emulator deploy")?;
        let said = String::from_utf8_lossy(&deployed.stdout);
        ensure!(
            deployed.status.success(),
            "scripts/emulator deploy: {}\n{said}\n{}\n{}",
            deployed.status,
            String::from_utf8_lossy(&deployed.stderr),
            emulator.said()
        );
        let outputs: BTreeMap<String, String> = said
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let output = |key: &str| outputs.get(key).with_context(|| format!("no output {key}"));
        let mut names = Names::default();
        for (resource, key) in [
            (Resource::Ads, "AdsTableName"),
            (Resource::Placements, "PlacementsTableName"),
            (Resource::Keys, "KeysTableName"),
            (Resource::Claims, "ClaimsTableName"),
            (Resource::Buckets, "BucketsTableName"),
            (Resource::Lanes, "LanesTableName"),
            (Resource::Hours, "HoursTableName"),
            (Resource::Stream, "StreamName"),
            (Resource::SpillQueue, "SpillQueueUrl"),
            (Resource::Bucket, "BucketName"),
            (Resource::TokenSecret, "TokenSecretArn"),
            (Resource::LakeDatabase, "LakeDatabase"),
            (Resource::Workgroup, "LakeWorkgroup"),
        ] {
            names = names.with(resource, output(key)?);
        }
        let target = Target {
            endpoint: emulator.url().to_owned(),
            region: REGION.to_owned(),
            access_key_id: ACCESS_KEY.to_owned(),
            secret_access_key: ACCESS_KEY.to_owned(),
        };
        Ok(Self {
            api: Api::at(output("ApiUrl")?),
            aws: Aws::at(target, names, Arc::new(SystemClock))?,
            signed: Signed::at(emulator.url(), REGION, ACCESS_KEY, ACCESS_KEY),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            outputs,
            emulator,
            _run: run,
        })
    }

    /// An output of the stack, or one of those that `scripts/emulator deploy` adds.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn output(&self, key: &str) -> Result<&str> {
        let found = self.outputs.get(key).map(String::as_str);
        found.with_context(|| format!("the stack has no output {key}"))
    }

    /// Waits for an answer of a client of [`Stack::aws`].
    pub fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    /// Where the emulator is, and the number of the account there.
    pub fn emulator(&self) -> (&str, &str) {
        (self.emulator.url(), ACCESS_KEY)
    }

    /// What the emulator has printed so far.
    pub fn emulator_said(&self) -> String {
        self.emulator.said()
    }

    /// Calls a function with an event, as a schedule does; answers what it answers.
    ///
    /// # Errors
    /// There is no answer, or the function failed.
    pub fn invoke(&self, function: &str, event: &Value) -> Result<Value> {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let answer = self
            .signed
            .send("lambda", "POST", &path, &[], &event.to_string())?;
        ensure!(
            answer.header("x-amz-function-error").is_none(),
            "{function} failed: {}",
            answer.body
        );
        answer.json()
    }

    /// Calls a function with an event without waiting for its end.
    ///
    /// # Errors
    /// The event was not taken.
    pub fn begin(&self, function: &str, event: &Value) -> Result<()> {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let headers = [("X-Amz-Invocation-Type", "Event")];
        self.signed
            .send("lambda", "POST", &path, &headers, &event.to_string())?;
        Ok(())
    }

    /// The variables of a function's environment.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub fn environment(&self, function: &str) -> Result<BTreeMap<String, String>> {
        let path = format!("/2015-03-31/functions/{function}/configuration");
        let answer = self.signed.send("lambda", "GET", &path, &[], "")?.json()?;
        Ok(serde_json::from_value(
            answer["Environment"]["Variables"].clone(),
        )?)
    }

    /// Gives a function other variables: from then on it runs in new environments, as after a deployment.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub fn set_environment(&self, function: &str, variables: &BTreeMap<String, String>) -> Result<()> {
        let path = format!("/2015-03-31/functions/{function}/configuration");
        let body = json!({ "Environment": { "Variables": variables } }).to_string();
        self.signed.send("lambda", "PUT", &path, &[], &body)?;
        Ok(())
    }

    /// Takes the policy of its role from a function, named as in the template: `placement`.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub fn take_policy(&self, function: &str, policy: &str) -> Result<()> {
        let role = self.role(function)?;
        let form = format!("Action=DeleteRolePolicy&Version=2010-05-08&RoleName={role}&PolicyName={policy}");
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        self.signed.send("iam", "POST", "/", &headers, &form)?;
        Ok(())
    }

    /// Lets a function do something to anything, beside its policy: where the emulator asks for more than AWS does.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub fn allow(&self, function: &str, actions: &[&str]) -> Result<()> {
        let role = self.role(function)?;
        let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": "*" });
        let document = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        let document: String = document.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let form = format!(
            "Action=PutRolePolicy&Version=2010-05-08&RoleName={role}&PolicyName=emulator&PolicyDocument={document}"
        );
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        self.signed.send("iam", "POST", "/", &headers, &form)?;
        Ok(())
    }

    /// The name of a function's role.
    fn role(&self, function: &str) -> Result<String> {
        let path = format!("/2015-03-31/functions/{function}/configuration");
        let answer = self.signed.send("lambda", "GET", &path, &[], "")?.json()?;
        let role = answer["Role"].as_str().unwrap_or_default();
        Ok(role.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// Puts values (shaped as CloudWatch's `MetricDatum`) into a namespace of metrics.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub fn put_metrics(&self, namespace: &str, data: &Value) -> Result<()> {
        let body = json!({ "Namespace": namespace, "MetricData": data }).to_string();
        let headers = [
            ("Content-Type", "application/x-amz-json-1.0"),
            ("X-Amz-Target", "GraniteServiceVersion20100801.PutMetricData"),
        ];
        self.signed.send("monitoring", "POST", "/", &headers, &body)?;
        Ok(())
    }

    /// Every line that a function (its name in the template) has logged.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub fn log(&self, function: &str) -> Result<Vec<String>> {
        let group = format!("/clickledger/{NAME}/{function}");
        let mut lines = Vec::new();
        let mut token = Value::Null;
        loop {
            let mut ask = json!({ "logGroupName": group, "limit": EVENTS });
            if !token.is_null() {
                ask["nextToken"] = token;
            }
            let headers = [
                ("Content-Type", "application/x-amz-json-1.1"),
                ("X-Amz-Target", "Logs_20140328.FilterLogEvents"),
            ];
            let page = self
                .signed
                .send("logs", "POST", "/", &headers, &ask.to_string())?;
            let page = page.json()?;
            for event in page["events"].as_array().into_iter().flatten() {
                let text = event["message"].as_str().unwrap_or_default();
                lines.extend(text.lines().map(str::to_owned));
            }
            token = page["nextToken"].clone();
            if token.is_null() {
                return Ok(lines);
            }
        }
    }
}
