//! A Lambda function as a process: the real binary, on a Runtime API of its own.
//!
//! Invariant: the process is killed and waited for when the [`Function`] is dropped. Its processor time is its own: the API is
//! served by this process.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};

use crate::built;
use crate::runtime_api::{Event, Outcome, RuntimeApi};
use crate::until;

/// How often it is looked whether a process that should answer still lives.
const LOOK: Duration = Duration::from_millis(10);
/// How long a process may take to ask for its first event, on a busy machine. Lambda gives 10 s.
const INIT: Duration = Duration::from_secs(30);
/// How long what an ended process printed may be on its way.
const OUTPUT: Duration = Duration::from_secs(5);

/// A function's process.
pub struct Function {
    child: Mutex<Child>,
    id: u32,
    started: Instant,
    log: Arc<Mutex<Vec<String>>>,
    api: RuntimeApi,
}

/// How long a cold start took, from when the process was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdStart {
    /// To its first `next`: what Lambda reports as its init.
    pub to_next: Duration,
    /// To the first response or error, where there was one.
    pub to_answer: Option<Duration>,
}

/// An event that is being worked.
pub struct Pending<'f> {
    function: &'f Function,
    answer: Receiver<Outcome>,
    until: Instant,
}

impl Function {
    /// Starts a program with these arguments and just these variables, and with those that Lambda sets. Events may be given to
    /// it at once: it works them when it is up.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let name = program.file_stem().and_then(|name| name.to_str());
        let name = name.unwrap_or("function");
        let api = RuntimeApi::start(name)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", api.address())
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "local")
            .env("_HANDLER", "bootstrap")
            .env("LAMBDA_TASK_ROOT", program.parent().unwrap_or(Path::new("/")))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "en_US.UTF-8")
            .env("TZ", ":UTC")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let log = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take(), &log);
        collect(child.stderr.take(), &log);
        Ok(Self {
            id: child.id(),
            child: Mutex::new(child),
            started,
            log,
            api,
        })
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits until it asks for an event.
    ///
    /// # Errors
    /// It ended, or reported an error, or did not ask for 30 s; with what it printed.
    pub fn ready(&self) -> Result<ColdStart> {
        let asked = until("the function's first `next`", INIT, || {
            let seen = self.api.seen();
            if let Some(error) = seen.init_error {
                bail!("the function could not start: {error}");
            }
            if !self.lives() && seen.first_next.is_none() {
                // What it printed last may still be on its way: those who read it let go of the log when they have all of it.
                let all = || Ok((Arc::strong_count(&self.log) == 1).then_some(()));
                until("the end of what it printed", OUTPUT, all).ok();
                bail!("the function's process ended");
            }
            Ok(seen.first_next.map(|next| (next, seen.first_answer)))
        });
        let (next, answer) = asked.with_context(|| self.lines().join("\n"))?;
        Ok(ColdStart {
            to_next: next - self.started,
            to_answer: answer.map(|answer| answer - self.started),
        })
    }

    /// Gives it an event that it has so long to work, and does not wait.
    pub fn begin(&self, event: impl Into<Vec<u8>>, time: Duration) -> Pending<'_> {
        let (sender, answer) = channel();
        let now_ms = now_ms();
        self.api.push(Event {
            json: event.into(),
            deadline_ms: now_ms + i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2),
            trace_id: format!(
                "Root=1-{:08x}-{:024x};Parent={:016x};Sampled=0",
                now_ms / 1000,
                self.id,
                now_ms
            ),
            answer: sender,
        });
        Pending {
            function: self,
            answer,
            until: Instant::now() + time,
        }
    }

    /// Gives it an event, and waits for what becomes of it.
    pub fn invoke(&self, event: impl Into<Vec<u8>>, time: Duration) -> Outcome {
        self.begin(event, time).wait()
    }

    /// What it has used of the processors, user and system together, all its threads; to the nanosecond as long as no thread
    /// of it has ended, otherwise at least to the hundredth of a second. Waits until it has nothing to do.
    ///
    /// # Errors
    /// It ended, or is busy for 30 s.
    pub fn processor_time(&self) -> Result<Duration> {
        until("the function to have nothing to do", INIT, || {
            if !self.lives() {
                bail!("the function's process ended");
            }
            let seen = self.api.seen();
            Ok((seen.working == 0 && seen.waiting > 0).then_some(()))
        })?;
        let process = format!("/proc/{}", self.id);
        let mut of_threads = 0;
        for thread in std::fs::read_dir(format!("{process}/task"))? {
            // A thread may end at any moment; a kernel without these numbers has the ticks.
            let read = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            let nanoseconds = read
                .split(' ')
                .next()
                .and_then(|number| number.parse::<u64>().ok());
            of_threads += nanoseconds.unwrap_or_default();
        }
        let stat = std::fs::read_to_string(format!("{process}/stat"))?;
        // The name, in parentheses, may hold anything; utime and stime are the 14th and 15th field.
        let fields = stat.rsplit_once(')').context("/proc/<id>/stat")?.1;
        let ticks: Vec<u64> = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|n| n.parse().ok())
            .collect();
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        let of_process = ticks.iter().sum::<u64>() * tick_ns;
        Ok(Duration::from_nanos(of_threads.max(of_process)))
    }

    /// What it printed so far, both outputs.
    pub fn lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether its process has not ended.
    pub fn lives(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Ends it at once, as Lambda ends what runs out of time, and waits until it is gone. Whoever waits for its answer is told.
    ///
    /// # Errors
    /// The system could not.
    pub fn kill(&self) -> Result<()> {
        let mut child = self.child();
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell.
        let _ = self.kill();
    }
}

impl Pending<'_> {
    /// The outcome, if there is one within this time.
    pub fn within(&self, time: Duration) -> Option<Outcome> {
        let until = Instant::now() + time;
        loop {
            let now = Instant::now();
            match self
                .answer
                .recv_timeout(LOOK.min(until.saturating_duration_since(now)))
            {
                Ok(outcome) => return Some(outcome),
                Err(RecvTimeoutError::Disconnected) => return Some(Outcome::Ended),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if !self.function.lives() {
                // It may have answered just before its end.
                return Some(self.answer.try_recv().unwrap_or(Outcome::Ended));
            }
            if now >= until {
                return None;
            }
        }
    }

    /// Waits for the outcome; when the time is up, the process is killed.
    pub fn wait(self) -> Outcome {
        let left = self.until.saturating_duration_since(Instant::now());
        self.within(left).unwrap_or_else(|| {
            // It may end by itself at this very moment.
            let _ = self.function.kill();
            self.answer.try_recv().unwrap_or(Outcome::TimedOut)
        })
    }
}

/// The executable of a function of ours (`aggregate`, `click` …), beside the test's own.
///
/// # Errors
/// It is not there, or older than its sources; with the command that builds it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = built::executables()?;
    let profile = built::profile_of(&folder);
    built::up_to_date(&folder.join(name)).map_err(|error| {
        anyhow!("{error:#}: run `cargo build --locked --profile {profile} --bin {name} --package clickledger-{name}`")
    })
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

#[allow(clippy::disallowed_methods)] // Lambda gives deadlines by the wall clock.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A runtime in a few lines, which does what its event says.
    const RUNTIME: &str = r#"
import http.client, json, os, sys, threading, time
def loop():
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", "/2018-06-01/runtime/invocation/next")
        answer = api.getresponse()
        event, head = json.loads(answer.read()), dict(answer.getheaders())
        what, id = event["do"], head["Lambda-Runtime-Aws-Request-Id"]
        if what == "end": os._exit(3)
        if what == "sleep": time.sleep(event["seconds"])
        if what == "burn":
            start = time.thread_time()
            while time.thread_time() - start < event["seconds"]: pass
        print("worked", what, flush=True)
        body = json.dumps({"event": event, "deadline": int(head["Lambda-Runtime-Deadline-Ms"])}).encode()
        body = iter([body[:7], body[7:]]) if what == "chunks" else body
        path = "error" if what == "fail" else "response"
        api.request("POST", f"/2018-06-01/runtime/invocation/{id}/{path}", body, encode_chunked=what == "chunks",
                    headers={"Transfer-Encoding": "chunked"} if what == "chunks" else {})
        assert api.getresponse().read() and True
for _ in range(int(os.environ.get("LOOPS", "1"))): threading.Thread(target=loop).start()
"#;
    const LONG: Duration = Duration::from_secs(30);

    fn function(environment: &[(&str, &str)]) -> Function {
        let program = Path::new("/usr/bin/env");
        Function::start(program, &["python3", "-c", RUNTIME], environment).unwrap()
    }

    fn answered(outcome: Outcome) -> serde_json::Value {
        match outcome {
            Outcome::Answered(body) => serde_json::from_slice(&body).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_go_in_and_responses_and_errors_come_out() {
        let function = function(&[]);
        // Before it is up.
        let first = function.begin(r#"{"do":"answer"}"#, LONG);
        let before_ms = now_ms();
        let answer = answered(first.wait());
        assert_eq!(answer["event"]["do"], "answer");
        let deadline_ms = answer["deadline"].as_i64().unwrap();
        assert!((before_ms..=before_ms + 31_000).contains(&deadline_ms));
        let cold = function.ready().unwrap();
        assert!(cold.to_answer.unwrap() >= cold.to_next);
        let chunks = answered(function.invoke(r#"{"do":"chunks"}"#, LONG));
        assert_eq!(chunks["event"]["do"], "chunks");
        let failed = function.invoke(r#"{"do":"fail"}"#, LONG);
        assert!(matches!(failed, Outcome::Failed(_)), "{failed:?}");
        assert_eq!(
            answered(function.invoke(r#"{"do":"answer"}"#, LONG))["event"]["do"],
            "answer"
        );
        assert!(function.lines().contains(&"worked chunks".to_owned()));
    }

    #[test]
    fn whoever_waits_is_told_of_the_end_and_of_time_that_is_up() {
        let ends = function(&[]);
        assert_eq!(ends.invoke(r#"{"do":"end"}"#, LONG), Outcome::Ended);
        assert!(ends.ready().is_ok(), "it had asked for an event");
        let sleeps = function(&[]);
        sleeps.ready().unwrap();
        let sleep = r#"{"do":"sleep","seconds":60}"#;
        assert_eq!(sleeps.invoke(sleep, Duration::from_millis(50)), Outcome::TimedOut);
        assert!(!sleeps.lives());
        let killed = function(&[]);
        let pending = killed.begin(sleep, LONG);
        killed.ready().unwrap();
        assert_eq!(pending.within(Duration::from_millis(20)), None);
        killed.kill().unwrap();
        assert_eq!(pending.wait(), Outcome::Ended);
    }

    #[test]
    fn a_process_that_never_asks_is_told_with_what_it_printed() {
        let broken = Function::start(Path::new("/bin/sh"), &["-c", "echo no region; exit 1"], &[]).unwrap();
        let error = format!("{:#}", broken.ready().unwrap_err());
        assert!(error.contains("no region"), "{error}");
    }

    #[test]
    fn several_events_are_worked_at_a_time_where_several_next_wait() {
        let function = function(&[("LOOPS", "3")]);
        let sleep = r#"{"do":"sleep","seconds":60}"#;
        let _long = [function.begin(sleep, LONG), function.begin(sleep, LONG)];
        assert_eq!(
            answered(function.invoke(r#"{"do":"answer"}"#, LONG))["event"]["do"],
            "answer"
        );
    }

    #[test]
    fn processor_time_is_the_functions_own() {
        let function = function(&[]);
        function.ready().unwrap();
        let before = function.processor_time().unwrap();
        answered(function.invoke(r#"{"do":"burn","seconds":0.2}"#, LONG));
        let burnt = function.processor_time().unwrap() - before;
        assert!((190..400).contains(&burnt.as_millis()), "{burnt:?}");
        answered(function.invoke(r#"{"do":"sleep","seconds":0.3}"#, LONG));
        let slept = function.processor_time().unwrap() - before - burnt;
        assert!(slept.as_millis() < 100, "{slept:?}");
    }
}
