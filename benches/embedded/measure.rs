//! What a run costs, and how it is printed.

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// What the process has used so far.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    pub(crate) at: Instant,
    pub(crate) cpu_us: f64,
    pub(crate) written: f64,
}

pub(crate) fn field(file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}

impl Used {
    pub(crate) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // After the name, which may hold anything: user and system time, in hundredths of a second.
        let after = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: f64 = after
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<f64>().ok())
            .sum();
        Self {
            at: Instant::now(),
            cpu_us: ticks * 10_000.0,
            written: field("/proc/self/io", "write_bytes"),
        }
    }

    pub(crate) fn since(self, count: usize) -> [f64; 3] {
        let (now, count) = (Self::now(), count as f64);
        [
            (now.at - self.at).as_secs_f64() * 1e6 / count,
            (now.cpu_us - self.cpu_us) / count,
            (now.written - self.written) / count,
        ]
    }
}

/// Runs of one part, each as wall time, CPU time and bytes for one operation.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) runs: Vec<[f64; 3]>,
    pub(crate) calls: Histogram<u64>,
}

impl Part {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            runs: Vec::new(),
            calls: Histogram::new(3).unwrap(),
        }
    }

    pub(crate) fn call(&mut self, taken: Duration) {
        self.calls.record(taken.as_micros() as u64).unwrap();
    }

    pub(crate) fn print(mut self) {
        let mut median = |of: usize| {
            self.runs.sort_by(|a, b| a[of].total_cmp(&b[of]));
            self.runs[self.runs.len() / 2][of]
        };
        let (wall, cpu, written) = (median(0), median(1), median(2));
        let ms = |quantile| self.calls.value_at_quantile(quantile) as f64 / 1000.0;
        println!(
            "{:<44} {:>4} {:>9.0} {cpu:>8.2} {written:>8.0} {:>8.2} {:>8.2} {:>8.2} {:>7.0}",
            self.name,
            self.runs.len(),
            1e6 / wall,
            ms(0.5),
            ms(0.99),
            ms(1.0),
            field("/proc/self/status", "VmHWM") / 1024.0
        );
    }
}

pub(crate) fn header() {
    println!(
        "{:<44} {:>4} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7}",
        "", "runs", "ops/s", "CPU us", "bytes", "p50 ms", "p99 ms", "max ms", "HWM MB"
    );
}

/// The database and its write-ahead log, MiB.
pub(crate) fn sizes(dir: &Path) -> [u64; 2] {
    ["clickledger.db", "clickledger.db-wal"].map(|name| {
        let file = std::fs::metadata(dir.join(name));
        file.map_or(0, |file| file.len() >> 20)
    })
}
