//! Runs the commands of a document word for word, as a reader would: one shell, one folder, block after block.
//!
//! What is run are the blocks that are fenced as `sh`. In them, lines that are comments say what must happen:
//! - `# prints: TEXT` the block prints a line that holds TEXT, where `…` stands for anything.
//! - `# within a few seconds:` what is printed may come late: the block is run again until it prints it.
//! - `# fails:` the block ends with another exit code than 0.
//!
//! Invariant: whatever the shell has started ends with the [`Walk`].

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a block may take, and how long one that may be late is tried.
const BLOCK: Duration = Duration::from_secs(300);
const LATE: Duration = Duration::from_secs(90);
/// Nothing that a block prints.
const END: &str = "@@clickledger: end of block";

/// A fenced block of a document.
#[derive(Debug, Clone)]
pub struct Block {
    /// The heading that it stands under, without its marks.
    pub section: String,
    /// The line of the document that it begins in, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
}

impl Block {
    fn expected(&self) -> Vec<&str> {
        self.marked("# prints: ").collect()
    }

    fn marked<'a>(&'a self, mark: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.text.lines().filter_map(move |line| line.strip_prefix(mark))
    }
}

/// The blocks that are fenced as `language`.
pub fn blocks(document: &str, language: &str) -> Vec<Block> {
    let (mut found, mut section, mut open): (Vec<Block>, String, Option<(bool, Block)>) =
        (Vec::new(), String::new(), None);
    for (number, line) in (1..).zip(document.lines()) {
        match &mut open {
            Some((wanted, block)) if line == "```" => {
                if *wanted {
                    found.push(block.clone());
                }
                open = None;
            }
            Some((_, block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {
                if let Some(fence) = line.strip_prefix("```") {
                    let block = Block {
                        section: section.clone(),
                        line: number,
                        text: String::new(),
                    };
                    open = Some((fence == language, block));
                } else if line.starts_with('#') {
                    section = line.trim_start_matches('#').trim().to_owned();
                }
            }
        }
    }
    found
}

/// Whether a line holds a text in which `…` stands for anything.
fn holds(line: &str, text: &str) -> bool {
    let mut rest = line;
    text.split('…')
        .map(str::trim)
        .all(|piece| match rest.find(piece) {
            Some(at) => {
                rest = &rest[at + piece.len()..];
                true
            }
            None => false,
        })
}

/// A shell in a folder.
#[derive(Debug)]
pub struct Walk {
    shell: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    folder: PathBuf,
}

impl Walk {
    /// Begins, with `path` before the shell's own PATH and these variables.
    ///
    /// # Errors
    /// There is no bash.
    pub fn begin(folder: &Path, path: &[&Path], variables: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new("bash");
        #[allow(clippy::disallowed_methods)]
        // What the tests' own caller has set is nothing that a reader has.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CLICKLEDGER_") || name.starts_with("AWS_") {
                command.env_remove(&*name);
            }
        }
        #[allow(clippy::disallowed_methods)] // The shell's programs are where the test's are.
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let inherited: Vec<PathBuf> = std::env::split_paths(&inherited).collect();
        let path = path.iter().map(|folder| folder.to_path_buf()).chain(inherited);
        let mut shell = command
            .args(["--norc", "--noprofile"])
            .current_dir(folder)
            .env("PATH", std::env::join_paths(path)?)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("bash")?;
        let mut input = shell.stdin.take().context("the shell's input")?;
        let output = shell.stdout.take().context("the shell's output")?;
        // What is said on either is read in order.
        writeln!(input, "exec 2>&1")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || read(output, |line| sender.send(line).is_ok()));
        Ok(Self {
            shell,
            input,
            lines,
            folder: folder.to_owned(),
        })
    }

    /// Runs a block, again where it says that it may be late; answers what it printed in the end.
    ///
    /// # Errors
    /// It failed, or did not print what it says; with what it printed.
    pub fn run(&mut self, block: &Block) -> Result<String> {
        let patience = match block.text.contains("# within a few seconds:") {
            true => LATE,
            false => Duration::ZERO,
        };
        let deadline = Instant::now() + patience;
        loop {
            let (code, printed) = self.once(&block.text)?;
            let wrong = wrong(block, code, &printed);
            match wrong {
                None => return Ok(printed),
                Some(wrong) if Instant::now() >= deadline => bail!(
                    "line {}, {:?}: {wrong}\n--- the block\n{}--- printed\n{printed}",
                    block.line,
                    block.section,
                    block.text
                ),
                Some(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    fn once(&mut self, text: &str) -> Result<(i32, String)> {
        // In the shell itself, so that what it sets stays set; the first command that fails is how it ended.
        let script = self.folder.join(".block");
        std::fs::write(&script, text)?;
        let script = script.display();
        writeln!(
            self.input,
            "failed=; trap 'failed=${{failed:-$?}}' ERR; . '{script}' </dev/null; trap - ERR; echo; echo \"{END} ${{failed:-0}}\""
        )?;
        let (deadline, mut printed) = (Instant::now() + BLOCK, String::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => match line.strip_prefix(END) {
                    Some(code) => return Ok((code.trim().parse()?, printed)),
                    None => {
                        printed.push_str(&line);
                        printed.push('\n');
                    }
                },
                Err(RecvTimeoutError::Timeout) => bail!("not within {BLOCK:?}: {text}\n{printed}"),
                Err(RecvTimeoutError::Disconnected) => bail!("the shell has ended: {text}\n{printed}"),
            }
        }
    }
}

fn wrong(block: &Block, code: i32, printed: &str) -> Option<String> {
    let fails = block.text.lines().any(|line| line == "# fails:");
    if fails != (code != 0) {
        return Some(format!("a command ended with {code}"));
    }
    let missing = block
        .expected()
        .into_iter()
        .find(|text| !printed.lines().any(|line| holds(line, text)));
    missing.map(|text| format!("nothing printed holds {text:?}"))
}

fn read(output: impl Read, mut each: impl FnMut(String) -> bool) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        if !each(String::from_utf8_lossy(&line).into_owned()) {
            return;
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        let group = format!("-{}", self.shell.id());
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.shell.wait();
    }
}

/// A folder that looks like a fresh clone of the repository, with a `target` of its own.
///
/// # Errors
/// It could not be made.
pub fn clone_into(folder: &Path) -> Result<()> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for entry in std::fs::read_dir(root)? {
        let (name, path) = {
            let entry = entry?;
            (entry.file_name(), entry.path())
        };
        let hidden = name.to_string_lossy().starts_with('.');
        if name != "target" && !hidden {
            std::os::unix::fs::symlink(std::fs::canonicalize(&path)?, folder.join(&name))?;
        }
    }
    ensure!(
        folder.join("Cargo.toml").exists(),
        "no repository in {}",
        root.display()
    );
    Ok(std::fs::create_dir(folder.join("target"))?)
}

/// A program that stands for `cargo` (or another) and takes these command lines only, with which it does nothing: what they build is
/// there already. A line that ends in `…` stands for all that begin so.
///
/// # Errors
/// It could not be written.
pub fn stand_in(folder: &Path, name: &str, lines: &[&str]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let case = |line: &&str| match line.strip_suffix('…') {
        Some(begin) => format!("'{begin}'*"),
        None => format!("'{line}'"),
    };
    let cases: Vec<String> = lines.iter().map(case).collect();
    let text = format!(
        "#!/usr/bin/env bash\ncase \"$*\" in\n{}) exit 0 ;;\nesac\necho \"{name}: not in the tutorial's test: $*\" >&2\nexit 2\n",
        cases.join(" | ")
    );
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o755),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# One\n```sh\nA=1\necho \"got $A\"\n# prints: got 1\n```\n```console\nnever\n```\n## Two\n```sh\necho $((A + 1))\n# prints: 2\n```\n";

    #[test]
    fn blocks_are_found_under_their_headings() {
        let found = blocks(DOCUMENT, "sh");
        let places: Vec<(&str, usize)> = found.iter().map(|b| (b.section.as_str(), b.line)).collect();
        assert_eq!(places, [("One", 2), ("Two", 11)]);
    }

    #[test]
    fn a_walk_keeps_its_variables_and_notices_what_does_not_hold() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut walk = Walk::begin(folder.path(), &[], &[])?;
        for block in blocks(DOCUMENT, "sh") {
            walk.run(&block)?;
        }
        for wrong in [
            "echo one\n# prints: two\n",
            "false\ntrue\n",
            "true\n# fails:\n",
            "nothing-of-this-name\n",
            "echo 'a c b'\n# prints: a…b…c\n",
        ] {
            let block = Block {
                section: String::new(),
                line: 1,
                text: wrong.to_owned(),
            };
            ensure!(walk.run(&block).is_err(), "{wrong}");
        }
        let late = "echo x >>count\nwc -l <count\n# within a few seconds:\n# prints: 3\n";
        let late = Block {
            section: String::new(),
            line: 1,
            text: late.to_owned(),
        };
        walk.run(&late)?;
        Ok(())
    }

    #[test]
    fn a_text_may_leave_out_what_differs() {
        assert!(holds("ad_id  731  active", "ad_id…active"));
        assert!(!holds("active  ad_id", "ad_id…active"));
    }
}
