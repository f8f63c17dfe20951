//! A headless Chromium with a fresh profile.
//!
//! Invariant: the browser and all its processes end when the [`Chromium`] is dropped.

use std::ffi::{OsStr, OsString};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headless_chrome::protocol::cdp::Browser::Close;
use headless_chrome::protocol::cdp::types::Event;
use headless_chrome::protocol::cdp::{Emulation, Log, Page, Runtime};
use headless_chrome::{Browser, LaunchOptions, Tab};
use tempfile::TempDir;

use crate::until;

/// What the pages opened by a test complained of.
pub type Complaints = Arc<Mutex<Vec<String>>>;

/// A host name that leads to 127.0.0.1, in the browser only: how a page looks to somebody who is not on this machine.
pub const FOREIGN_HOST: &str = "publisher.test";

/// A running browser.
pub struct Chromium {
    browser: Browser,
    // After the browser: it writes to its profile until it is gone.
    _profile: TempDir,
}

impl Deref for Chromium {
    type Target = Browser;
    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Asked to, it ends its processes before itself; killed (as `Browser` does at last), it leaves them to notice.
        let tab = self
            .browser
            .get_tabs()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .first()
            .cloned();
        if let Some(tab) = tab {
            let _ = tab.call_method(Close(None));
            let process = self.browser.get_process_id().unwrap_or_default();
            let _ = until("the browser's end", Duration::from_secs(5), || {
                Ok(has_ended(process).then_some(()))
            });
        }
    }
}

/// Whether a child of this process has ended, waited for or not.
fn has_ended(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// Starts the browser of `CHROMIUM` or the PATH, with a fresh profile.
///
/// # Errors
/// There is no browser (with what to do about it), or it does not start.
pub fn launch() -> Result<Chromium> {
    let profile = tempfile::tempdir()?;
    let rules = OsString::from(format!("--host-resolver-rules=MAP {FOREIGN_HOST} 127.0.0.1"));
    let mut arguments: Vec<&OsStr> = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        // A headless browser says so, and is a robot then.
        "--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ]
    .map(OsStr::new)
    .to_vec();
    arguments.push(&rules);
    // A page in a hidden tab is slowed down as it is for everybody.
    let unwanted = [
        "--disable-background-timer-throttling",
        "--disable-backgrounding-occluded-windows",
        "--disable-renderer-backgrounding",
    ]
    .map(OsStr::new)
    .to_vec();
    let options = LaunchOptions::default_builder()
        .headless(false) // `--headless=new` above, rather than the crate's spelling of it
        .sandbox(false)
        .path(Some(executable()?))
        .user_data_dir(Some(profile.path().to_owned()))
        .window_size(Some((1280, 1000)))
        .idle_browser_timeout(Duration::from_secs(120))
        .args(arguments)
        .ignore_default_args(unwanted)
        .build()?;
    Ok(Chromium {
        browser: Browser::new(options).context("starting Chromium")?,
        _profile: profile,
    })
}

/// Notes every error that the page's console shows.
///
/// # Errors
/// The browser does not answer.
pub fn listen_for_errors(tab: &Tab) -> Result<Complaints> {
    let complaints = Complaints::default();
    let notes = Arc::clone(&complaints);
    tab.enable_log()?.enable_runtime()?;
    tab.add_event_listener(Arc::new(move |event: &Event| {
        let note = match event {
            Event::LogEntryAdded(added) if added.params.entry.level == Log::LogEntryLevel::Error => {
                format!("{} {:?}", added.params.entry.text, added.params.entry.url)
            }
            Event::RuntimeExceptionThrown(thrown) => format!("{:?}", thrown.params.exception_details),
            Event::RuntimeConsoleAPICalled(call)
                if call.params.Type == Runtime::ConsoleAPICalledEventTypeOption::Error =>
            {
                format!("{:?}", call.params.args)
            }
            _ => return,
        };
        notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }))?;
    Ok(complaints)
}

/// Lays the page out for a screen of this width, in the light or the dark scheme.
///
/// # Errors
/// The browser does not answer.
pub fn show_as(tab: &Tab, width: u32, height: u32, dark: bool) -> Result<()> {
    tab.call_method(Emulation::SetDeviceMetricsOverride {
        width,
        height,
        device_scale_factor: 1.0,
        mobile: width < 600,
        scale: None,
        screen_width: None,
        screen_height: None,
        position_x: None,
        position_y: None,
        dont_set_visible_size: None,
        screen_orientation: None,
        viewport: None,
        display_feature: None,
        device_posture: None,
    })?;
    tab.call_method(Emulation::SetEmulatedMedia {
        media: None,
        features: Some(vec![Emulation::MediaFeature {
            name: "prefers-color-scheme".into(),
            value: if dark { "dark" } else { "light" }.into(),
        }]),
    })?;
    Ok(())
}

/// A PNG of the whole page, however long.
///
/// # Errors
/// The browser does not answer.
pub fn screenshot(tab: &Tab) -> Result<Vec<u8>> {
    let full = tab.call_method(Page::GetLayoutMetrics(None))?.css_content_size;
    let clip = Page::Viewport {
        x: 0.0,
        y: 0.0,
        width: full.width,
        height: full.height,
        scale: 1.0,
    };
    let shot = tab.call_method(Page::CaptureScreenshot {
        format: Some(Page::CaptureScreenshotFormatOption::Png),
        quality: None,
        clip: Some(clip),
        from_surface: Some(true),
        capture_beyond_viewport: Some(true),
        optimize_for_speed: None,
    })?;
    Ok(STANDARD.decode(shot.data)?)
}

/// The value of an expression in the page.
///
/// # Errors
/// It throws, or the browser does not answer.
pub fn value(tab: &Tab, expression: &str) -> Result<serde_json::Value> {
    Ok(tab.evaluate(expression, true)?.value.unwrap_or_default())
}

#[allow(clippy::disallowed_methods)] // Which browser to use is the machine's business, not a setting of ours.
fn executable() -> Result<PathBuf> {
    if let Some(chosen) = std::env::var_os("CHROMIUM").filter(|path| !path.is_empty()) {
        return Ok(chosen.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path) {
        for name in [
            "chromium",
            "chromium-browser",
            "google-chrome",
            "google-chrome-stable",
        ] {
            let file = folder.join(name);
            if file.is_file() {
                return Ok(file);
            }
        }
    }
    bail!(
        "no Chromium: install it (Debian: apt-get install chromium; scripts/test does so when run as root), \
         or name its executable in the environment variable CHROMIUM"
    )
}
