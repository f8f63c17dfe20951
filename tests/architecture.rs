//! The house rules of `docs/ARCHITECTURE.md` that a compiler does not check: who may depend on whom, where versions
//! stand, where the environment is read, how long a file may be.
//!
//! Each rule is a function from what it looks at to what it finds wrong, so that each is also shown to find something.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const MAX_LINES: usize = 400;
/// Suites and benchmarks may use everything.
const MAY_USE_ALL: [&str; 4] = [
    "clickledger-tests",
    "clickledger-tests-cloud",
    "clickledger-benches",
    "clickledger-bench-lambda",
];
const VAGUE_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "manager"];

/// One dependency of a workspace crate, as `cargo metadata` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dependency {
    of: String,
    on: String,
    dev: bool,
    /// Only with a feature that is not on by default.
    optional: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

#[allow(clippy::disallowed_methods)] // Cargo says by its environment which cargo runs.
fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn dependencies() -> Vec<Dependency> {
    let output = Command::new(cargo())
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--locked",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .flat_map(|package| {
            package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .map(move |on| (package, on))
        })
        .map(|(of, on)| Dependency {
            of: text(&of["name"]),
            on: text(&on["name"]),
            dev: on["kind"] == "dev",
            optional: on["optional"] == true,
        })
        .collect()
}

/// What a crate of ours may name of our own, outside its tests. Tests and benches may use everything.
fn allowed_of_ours(of: &str) -> &'static [&'static str] {
    match of {
        "clickledger" => &["clickledger-http", "clickledger-embedded", "clickledger-core"],
        "clickledger-http" | "clickledger-embedded" | "clickledger-aws" | "clickledger-testkit" => {
            &["clickledger-core"]
        }
        "clickledger-core" => &[],
        // What functions share knows events, not services.
        "clickledger-lambda" => &[],
        // What ours are compared with has nothing of ours.
        "clickledger-baseline-empty" | "clickledger-baseline-plain" => &[],
        // What the functions behind the HTTP API share.
        "clickledger-edge" => &[
            "clickledger-http",
            "clickledger-lambda",
            "clickledger-aws",
            "clickledger-core",
        ],
        // A function: its handler over http, its wiring over aws.
        _ => &[
            "clickledger-edge",
            "clickledger-http",
            "clickledger-lambda",
            "clickledger-aws",
            "clickledger-core",
        ],
    }
}

fn against_the_arrows(dependencies: &[Dependency]) -> Vec<String> {
    let ours = |name: &str| name == "clickledger" || name.starts_with("clickledger-");
    dependencies
        .iter()
        .filter(|d| ours(&d.on) && !MAY_USE_ALL.contains(&d.of.as_str()))
        .filter(|d| {
            // What `doctor` and `redrive` need; `cargo run` must not build it.
            let by_feature = d.optional && (&*d.of, &*d.on) == ("clickledger", "clickledger-aws");
            let for_tests = d.dev && d.on == "clickledger-testkit";
            !(allowed_of_ours(&d.of).contains(&d.on.as_str()) || by_feature || for_tests)
        })
        .map(|d| format!("{} may not depend on {}", d.of, d.on))
        .collect()
}

/// What a foreign crate is for, and which of ours may name it outside their tests.
fn out_of_place(dependencies: &[Dependency]) -> Vec<String> {
    // The plain handler (benches/baselines) is there to show what the SDK costs.
    const AWS: [&str; 2] = ["clickledger-aws", "clickledger-baseline-plain"];
    const SQL: [&str; 1] = ["clickledger-embedded"];
    let may_name = |of: &str, on: &str| {
        let function = !matches!(
            of,
            "clickledger"
                | "clickledger-core"
                | "clickledger-http"
                | "clickledger-embedded"
                | "clickledger-testkit"
                | "clickledger-aws"
        );
        let http = matches!(of, "clickledger" | "clickledger-http") || function;
        if on.starts_with("aws-sdk-") {
            AWS.contains(&of)
        } else if on.starts_with("aws-") {
            AWS.contains(&of) || function
        } else if on.starts_with("lambda_") || on.starts_with("aws_lambda_events") {
            function
        } else if on.contains("sqlite") || on == "sqlx" {
            SQL.contains(&of)
        } else if matches!(
            on,
            "axum" | "http" | "http-body" | "http-body-util" | "hyper" | "hyper-util"
        ) || on.starts_with("tower")
            || on.starts_with("utoipa")
            || on == "reqwest"
        {
            http || AWS.contains(&of)
        } else if on == "tokio" {
            of != "clickledger-core"
        } else {
            true
        }
    };
    dependencies
        .iter()
        .filter(|d| !d.dev && !MAY_USE_ALL.contains(&d.of.as_str()))
        .filter(|d| !may_name(&d.of, &d.on))
        .map(|d| format!("{} may not name {}", d.of, d.on))
        .collect()
}

/// Dependencies that say more than `workspace = true` (and features): their version would stand in two places.
fn versions_outside_the_root(manifest: &toml::Table) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        if matches!(
            key.as_str(),
            "dependencies" | "dev-dependencies" | "build-dependencies"
        ) {
            for (name, wanted) in table {
                let inherited = wanted.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                let says_more = ["version", "path", "git"]
                    .iter()
                    .any(|word| wanted.get(word).is_some());
                if !inherited || says_more {
                    found.push(format!("{key}.{name}"));
                }
            }
        } else if key == "target" {
            for platform in table.values().filter_map(toml::Value::as_table) {
                found.extend(versions_outside_the_root(platform));
            }
        }
    }
    found
}

/// Lines of a source file without the unit tests at its end.
fn own_lines(source: &str) -> usize {
    let lines: Vec<&str> = source.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests"));
    tests.unwrap_or(lines.len())
}

/// What is wrong with one source file. `path` is relative to the root, with `/`.
fn file_faults(path: &str, source: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let for_tests = ["tests/", "benches/", "shared/testkit/"]
        .iter()
        .any(|folder| path.starts_with(folder))
        || path
            .split('/')
            .any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"));
    let body: Vec<&str> = source.lines().take(own_lines(source)).collect();
    if !for_tests && body.len() > MAX_LINES {
        faults.push(format!(
            "{path}: {} lines, split it at about {MAX_LINES}",
            body.len()
        ));
    }
    // The unit tests of the file above them.
    if !source.starts_with("//!") && !path.ends_with("/tests.rs") {
        faults.push(format!("{path}: does not open with //!"));
    }
    let stems: BTreeSet<&str> = path.trim_end_matches(".rs").split('/').collect();
    if let Some(vague) = VAGUE_NAMES.iter().find(|name| stems.contains(**name)) {
        faults.push(format!("{path}: `{vague}` says nothing"));
    }
    // Cargo tells a build script by the environment where to write.
    let config = stems.contains("config") || stems.contains("build");
    if !for_tests
        && !config
        && body
            .iter()
            .any(|line| line.contains("env::var") || line.contains("env::vars"))
    {
        faults.push(format!("{path}: reads the environment outside config"));
    }
    faults
}

/// Files that git knows or would know: `target` and data folders are not ours.
fn files(ending: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "clickledger-data" {
                    walk(&path, ending, found);
                }
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, ending, &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let relative = path
                .strip_prefix(&root)
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/");
            (relative, std::fs::read_to_string(&path).unwrap())
        })
        .collect()
}

fn dependency(of: &str, on: &str, dev: bool) -> Dependency {
    Dependency {
        of: of.into(),
        on: on.into(),
        dev,
        optional: false,
    }
}

#[test]
fn crates_depend_along_the_arrows_only() {
    assert_eq!(against_the_arrows(&dependencies()), Vec::<String>::new());
}

#[test]
fn aws_http_and_sql_crates_are_named_only_where_they_belong() {
    assert_eq!(out_of_place(&dependencies()), Vec::<String>::new());
}

#[test]
fn versions_stand_in_the_root_manifest_only() {
    let manifests = files("Cargo.toml");
    assert!(manifests.len() > 5, "{} manifests found", manifests.len());
    for (path, manifest) in manifests {
        let found = versions_outside_the_root(&manifest.parse().unwrap());
        assert_eq!(found, Vec::<String>::new(), "{path}: write `workspace = true`");
    }
}

#[test]
fn source_files_are_short_say_what_they_are_and_leave_the_environment_alone() {
    let sources = files(".rs");
    assert!(sources.len() > 30, "{} sources found", sources.len());
    let faults: Vec<String> = sources
        .iter()
        .flat_map(|(path, source)| file_faults(path, source))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn arrows_that_point_the_wrong_way_are_found() {
    for (of, on, dev) in [
        ("clickledger-core", "clickledger-http", false),
        ("clickledger-core", "clickledger-embedded", true),
        ("clickledger-http", "clickledger-embedded", false),
        ("clickledger-embedded", "clickledger-aws", false),
        ("clickledger", "clickledger-aws", false),
        ("clickledger", "clickledger-testkit", false),
        ("clickledger-testkit", "clickledger-http", false),
        ("clickledger-click", "clickledger-query", false),
        ("clickledger-click", "clickledger-embedded", false),
        ("clickledger-baseline-plain", "clickledger-core", false),
        ("clickledger-http", "clickledger-tests", true),
    ] {
        assert_eq!(
            against_the_arrows(&[dependency(of, on, dev)]).len(),
            1,
            "{of} → {on}"
        );
    }
    for (of, on, dev) in [
        ("clickledger", "clickledger-embedded", false),
        ("clickledger-click", "clickledger-aws", false),
        ("clickledger-embedded", "clickledger-testkit", true),
        ("clickledger-tests", "clickledger-aws", true),
        ("clickledger-core", "serde", false),
    ] {
        assert_eq!(
            against_the_arrows(&[dependency(of, on, dev)]),
            Vec::<String>::new(),
            "{of} → {on}"
        );
    }
}

#[test]
fn the_command_builds_aws_crates_only_where_it_is_asked_to() {
    let optional = |on: &str| Dependency {
        optional: true,
        ..dependency("clickledger", on, false)
    };
    assert_eq!(
        against_the_arrows(&[optional("clickledger-aws")]),
        Vec::<String>::new()
    );
    assert_eq!(against_the_arrows(&[optional("clickledger-lambda")]).len(), 1);
    let root: toml::Table = std::fs::read_to_string(root().join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let features = root["features"].as_table().unwrap();
    assert!(
        features["aws"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f.as_str() == Some("dep:clickledger-aws"))
    );
    assert!(!features.contains_key("default"), "nothing is on by default");
}

#[test]
fn foreign_crates_out_of_their_place_are_found() {
    for (of, on) in [
        ("clickledger-core", "tokio"),
        ("clickledger-core", "axum"),
        ("clickledger-core", "rusqlite"),
        ("clickledger-core", "aws-sdk-dynamodb"),
        ("clickledger-core", "lambda_runtime"),
        ("clickledger-http", "rusqlite"),
        ("clickledger-http", "lambda_http"),
        ("clickledger", "aws-sdk-s3"),
        ("clickledger-click", "aws-sdk-kinesis"),
        ("clickledger-baseline-empty", "aws-sdk-kinesis"),
        ("clickledger-embedded", "hyper-util"),
    ] {
        assert_eq!(
            out_of_place(&[dependency(of, on, false)]).len(),
            1,
            "{of} names {on}"
        );
    }
    for (of, on) in [
        ("clickledger-aws", "aws-sdk-kinesis"),
        ("clickledger-click", "lambda_http"),
        ("clickledger-http", "axum"),
        ("clickledger-embedded", "rusqlite"),
        ("clickledger-baseline-plain", "aws-sdk-kinesis"),
        ("clickledger-tests", "aws-sdk-kinesis"),
    ] {
        assert_eq!(
            out_of_place(&[dependency(of, on, false)]),
            Vec::<String>::new(),
            "{of} names {on}"
        );
    }
}

#[test]
fn a_version_in_a_member_is_found() {
    let manifest = r#"
        [dependencies]
        a.workspace = true
        b = "1"
        c = { workspace = true, features = ["x"] }
        [dev-dependencies]
        d = { path = "../d" }
        [target.'cfg(unix)'.build-dependencies]
        e = { version = "2" }
    "#;
    let mut found = versions_outside_the_root(&manifest.parse().unwrap());
    found.sort();
    assert_eq!(
        found,
        ["build-dependencies.e", "dependencies.b", "dev-dependencies.d"]
    );
}

#[test]
fn faults_of_a_source_file_are_found() {
    let long = format!("//! Long.\n{}", "//\n".repeat(MAX_LINES));
    assert_eq!(file_faults("shared/core/src/a.rs", &long).len(), 1);
    assert_eq!(file_faults("tests/a.rs", &long), Vec::<String>::new());
    assert_eq!(
        file_faults("shared/core/src/a/tests.rs", &long),
        Vec::<String>::new()
    );
    let tested = format!(
        "//! Short.\n#[cfg(test)]\nmod tests {{\n{}}}\n",
        "//\n".repeat(MAX_LINES)
    );
    assert_eq!(file_faults("shared/core/src/a.rs", &tested), Vec::<String>::new());
    assert_eq!(file_faults("src/a.rs", "fn main() {}\n").len(), 1);
    assert_eq!(file_faults("src/utils/a.rs", "//! A.\n").len(), 1);
    let reads = "//! A.\nfn f() { let _ = std::env::var(\"HOME\"); }\n";
    assert_eq!(file_faults("src/a.rs", reads).len(), 1);
    assert_eq!(file_faults("src/config.rs", reads), Vec::<String>::new());
    assert_eq!(file_faults("shared/core/build.rs", reads), Vec::<String>::new());
}
