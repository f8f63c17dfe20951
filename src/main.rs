//! The `clickledger` command. Its subcommands are not there yet: it says so instead of pretending.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Nothing can be done about a closed standard error; the exit code says it too.
    let _ = writeln!(
        std::io::stderr(),
        "clickledger: the server and its client commands are not built yet, see README.md"
    );
    ExitCode::from(2)
}
