use std::io::Write;

use super::*;

fn load(args: &ServeArgs, environment: &[(&str, &str)]) -> Result<Config, String> {
    Config::from_sources(args, |name| {
        environment
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value.into())
    })
    .map_err(|error| format!("{error:#}"))
}

fn with_file(text: &str) -> (tempfile::NamedTempFile, ServeArgs) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let args = ServeArgs {
        config: Some(file.path().to_owned()),
        ..ServeArgs::default()
    };
    (file, args)
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let (_file, args) = with_file("shards = 3\nlisten = \"127.0.0.1:3\"\ndata = \"/three\"");
    let environment = [("CLICKLEDGER_SHARDS", "4"), ("CLICKLEDGER_LISTEN", "127.0.0.1:4")];
    let config = load(
        &ServeArgs {
            shards: Some("5".into()),
            ..args
        },
        &environment,
    )
    .unwrap();
    assert_eq!(config.shards, 5);
    assert_eq!(config.listen.port(), 4);
    assert_eq!(config.data, PathBuf::from("/three"));
    assert_eq!(load(&ServeArgs::default(), &[]).map(|c| c.shards), Ok(2));
}

#[test]
fn a_proxy_needs_both_hops_and_secret() {
    let hops = ("CLICKLEDGER_PROXY_HOPS", "2");
    let secret = ("CLICKLEDGER_PROXY_SECRET", "0123456789012345");
    let load = |environment: &[_]| load(&ServeArgs::default(), environment).map(|config| config.proxy);
    assert_eq!(load(&[hops, secret]).unwrap().map(|proxy| proxy.hops), Some(2));
    assert!(load(&[]).unwrap().is_none());
    assert!(load(&[hops]).err().unwrap().contains("CLICKLEDGER_PROXY_SECRET"));
    assert!(load(&[secret]).err().unwrap().contains("CLICKLEDGER_PROXY_HOPS"));
}

#[test]
fn limits_of_keys_are_whole_numbers() {
    let usual = RateLimits::default();
    let load = |environment: &[_]| load(&ServeArgs::default(), environment).map(|config| config.rate_limits);
    assert_eq!(load(&[]), Ok(usual));
    let told = load(&[
        ("CLICKLEDGER_RATE_LIMIT", "7"),
        ("CLICKLEDGER_ADMIN_RATE_LIMIT", "8"),
    ])
    .unwrap();
    assert_eq!((told.key.get(), told.admin.get()), (7, 8));
    assert_eq!(told.sign_ins, usual.sign_ins);
    for bad in ["0", "-1", "x", "1000001", "1.5"] {
        let error = load(&[("CLICKLEDGER_RATE_LIMIT", bad)]).err().unwrap();
        assert!(
            error.contains("CLICKLEDGER_RATE_LIMIT") && error.contains(bad),
            "{error}"
        );
    }
}

#[test]
fn a_secret_is_not_shown_by_its_error() {
    for (name, value) in [
        ("CLICKLEDGER_ADMIN_KEY", "clk_hunter2"),
        ("CLICKLEDGER_PROXY_SECRET", "hunter2"),
    ] {
        let error = load(&ServeArgs::default(), &[(name, value)]).err().unwrap();
        assert!(error.contains(name) && !error.contains(value), "{error}");
    }
}

#[test]
fn a_file_is_held_to_its_settings() {
    let (file, args) = with_file("shard = 3");
    let error = load(&args, &[]).err().unwrap();
    assert!(error.contains("\"shard\"") && error.contains("shards"), "{error}");
    assert!(error.contains(&file.path().display().to_string()), "{error}");
    let (_file, args) = with_file("shards = [1]");
    let error = load(&args, &[]).err().unwrap();
    assert!(error.contains("shards") && error.contains("1 to 1024"), "{error}");
    let (_file, args) = with_file("shards");
    assert!(load(&args, &[]).err().unwrap().contains("not TOML"));
}
