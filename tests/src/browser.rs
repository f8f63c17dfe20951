//! A headless Chromium with a fresh profile.
//!
//! Invariant: the browser and all its processes end when the [`Chromium`] is dropped.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use chromiumoxide::cdp::IntoEventKind;
use chromiumoxide::cdp::browser_protocol::browser::{SetDownloadBehaviorBehavior, SetDownloadBehaviorParams};
use chromiumoxide::cdp::browser_protocol::emulation::{MediaFeature, SetDeviceMetricsOverrideParams};
use chromiumoxide::cdp::browser_protocol::log::{EventEntryAdded, LogEntryLevel};
use chromiumoxide::cdp::browser_protocol::network::{
    ClearBrowserCacheParams, EventLoadingFinished, EventResponseReceived,
};
use chromiumoxide::cdp::js_protocol::runtime::{
    ConsoleApiCalledType, EventConsoleApiCalled, EventExceptionThrown,
};
use chromiumoxide::listeners::EventStream;
use chromiumoxide::page::ScreenshotParams;
use chromiumoxide::{Browser, BrowserConfig, Page};
use futures_util::{Stream, StreamExt};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A host name that leads to 127.0.0.1, in the browser only: how a page looks to somebody who is not on this machine.
pub const FOREIGN_HOST: &str = "publisher.test";

/// How long the browser may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running browser.
pub struct Chromium {
    runtime: Runtime,
    browser: Browser,
    // Dropped last: the browser writes to its profile until it is gone.
    _profile: TempDir,
}

impl Chromium {
    /// Starts the browser of `CHROMIUM` or the PATH, with a fresh profile.
    ///
    /// # Errors
    /// There is no browser (with what to do about it), or it does not start.
    pub fn launch() -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let config = BrowserConfig::builder()
            .chrome_executable(executable()?)
            .user_data_dir(profile.path())
            .new_headless_mode()
            .no_sandbox()
            .viewport(None)
            .window_size(1280, 1000)
            .launch_timeout(PATIENCE)
            .request_timeout(PATIENCE)
            // The crate's own arguments keep hidden tabs awake: here they are slowed down as they are for everybody.
            .disable_default_args()
            .args([
                "disable-gpu",
                "disable-quic",
                "no-first-run",
                "disable-background-networking",
                "disable-breakpad",
                "disable-component-update",
                "disable-default-apps",
                "disable-dev-shm-usage",
                "disable-sync",
            ])
            .arg(("host-resolver-rules", format!("MAP {FOREIGN_HOST} 127.0.0.1").as_str()))
            // A headless browser says so, and is a robot then.
            .arg((
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
            ))
            .build()
            .map_err(|error| anyhow!(error))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (browser, mut handler) = runtime
            .block_on(Browser::launch(config))
            .context("starting Chromium")?;
        // It passes messages on until the browser is gone; messages that it does not know are no concern of ours.
        runtime.spawn(async move { while handler.next().await.is_some() {} });
        Ok(Self {
            runtime,
            browser,
            _profile: profile,
        })
    }

    /// Opens a page in a tab of its own.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn open(&self, url: &str) -> Result<Tab<'_>> {
        let tab = self.tab(self.wait(self.browser.new_page("about:blank"))?);
        self.listen(&tab)?;
        self.wait(tab.page.goto(url))?;
        Ok(tab)
    }

    /// Keeps what pages hand out as files in this folder, under the names that they give.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn keep_downloads(&self, folder: &Path) -> Result<()> {
        let keep = SetDownloadBehaviorParams::builder()
            .behavior(SetDownloadBehaviorBehavior::Allow)
            .download_path(folder.display().to_string())
            .build()
            .map_err(|error| anyhow!(error))?;
        self.wait(self.browser.execute(keep))?;
        Ok(())
    }

    /// All tabs, also those that pages have opened.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn tabs(&self) -> Result<Vec<Tab<'_>>> {
        Ok(self
            .wait(self.browser.pages())?
            .into_iter()
            .map(|page| self.tab(page))
            .collect())
    }

    fn tab(&self, page: Page) -> Tab<'_> {
        Tab {
            chromium: self,
            page,
            complaints: Arc::default(),
            transferred: Arc::default(),
            requests: Arc::default(),
        }
    }

    /// Waits for an answer of the browser.
    fn wait<T>(&self, answer: impl Future<Output = chromiumoxide::Result<T>>) -> Result<T> {
        let answer = async { tokio::time::timeout(PATIENCE, answer).await };
        Ok(self
            .runtime
            .block_on(answer)
            .context("the browser does not answer")??)
    }

    fn listen(&self, tab: &Tab<'_>) -> Result<()> {
        self.wait(tab.page.enable_log())?;
        self.wait(tab.page.enable_runtime())?;
        let transferred = Arc::clone(&tab.transferred);
        self.note::<EventLoadingFinished>(tab, move |finished| {
            // Whole bytes, as numbers of JSON come.
            transferred.fetch_add(finished.encoded_data_length as u64, Ordering::Relaxed);
            None
        })?;
        let requests = Arc::clone(&tab.requests);
        self.note::<EventResponseReceived>(tab, move |_| {
            requests.fetch_add(1, Ordering::Relaxed);
            None
        })?;
        self.note::<EventEntryAdded>(tab, |added| {
            let entry = &added.entry;
            (entry.level == LogEntryLevel::Error).then(|| format!("{} {:?}", entry.text, entry.url))
        })?;
        self.note::<EventExceptionThrown>(tab, |thrown| Some(format!("{:?}", thrown.exception_details)))?;
        self.note::<EventConsoleApiCalled>(tab, |call| {
            (call.r#type == ConsoleApiCalledType::Error).then(|| format!("{:?}", call.args))
        })
    }

    fn note<E: IntoEventKind + Unpin>(
        &self,
        tab: &Tab<'_>,
        note: impl Fn(&E) -> Option<String> + Send + 'static,
    ) -> Result<()>
    where
        EventStream<E>: Stream<Item = Arc<E>> + Send + 'static,
    {
        let mut events = self.wait(tab.page.event_listener::<E>())?;
        let complaints = Arc::clone(&tab.complaints);
        self.runtime.spawn(async move {
            while let Some(event) = events.next().await {
                complaints
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(note(&event));
            }
        });
        Ok(())
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Asked to, it ends its processes before itself; killed, it leaves them to notice.
        let browser = &mut self.browser;
        self.runtime.block_on(async {
            let closed = tokio::time::timeout(Duration::from_secs(5), async {
                browser.close().await.ok()?;
                browser.wait().await.ok()
            });
            if !matches!(closed.await, Ok(Some(_))) {
                browser.kill().await;
            }
        });
    }
}

/// One tab.
pub struct Tab<'a> {
    chromium: &'a Chromium,
    page: Page,
    complaints: Arc<Mutex<Vec<String>>>,
    transferred: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

impl Tab<'_> {
    /// The value of an expression in the page.
    ///
    /// # Errors
    /// It throws, or the browser does not answer.
    pub fn value(&self, expression: &str) -> Result<serde_json::Value> {
        let found = self.chromium.wait(self.page.evaluate(expression))?;
        Ok(found.value().cloned().unwrap_or_default())
    }

    /// Clicks the middle of an element, as a mouse does.
    ///
    /// # Errors
    /// There is no such element, or the browser does not answer.
    pub fn click(&self, selector: &str) -> Result<()> {
        let element = self
            .chromium
            .wait(self.page.find_element(selector))
            .with_context(|| selector.to_owned())?;
        self.chromium.wait(element.click())?;
        Ok(())
    }

    /// Focuses an element and types a text, key by key.
    ///
    /// # Errors
    /// There is no such element, or the browser does not answer.
    pub fn write(&self, selector: &str, text: &str) -> Result<()> {
        let element = self
            .chromium
            .wait(self.page.find_element(selector))
            .with_context(|| selector.to_owned())?;
        self.chromium.wait(element.focus())?;
        self.chromium.wait(element.type_str(text))?;
        Ok(())
    }

    /// Presses a key where the focus is, such as `Enter`, `Tab` or `ArrowDown`.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn press(&self, key: &str) -> Result<()> {
        // The key goes to the page, whichever element it is asked of.
        let element = self.chromium.wait(self.page.find_element("body"))?;
        self.chromium.wait(element.press_key(key))?;
        Ok(())
    }

    /// Goes to another address as a link in the page does; one that differs only behind the `#` loads nothing.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn go(&self, url: &str) -> Result<()> {
        self.value(&format!("location.assign({})", serde_json::Value::from(url)))?;
        Ok(())
    }

    /// Loads the page anew, with nothing kept of it.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn reload_fresh(&self) -> Result<()> {
        self.chromium
            .wait(self.page.execute(ClearBrowserCacheParams::default()))?;
        self.reload_kept()
    }

    /// Loads the page anew, as somebody does who comes back to it.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn reload_kept(&self) -> Result<()> {
        self.transferred.store(0, Ordering::Relaxed);
        self.requests.store(0, Ordering::Relaxed);
        self.chromium.wait(self.page.reload())?;
        Ok(())
    }

    /// Bytes and answers that came over the network, heads included, since the tab was opened or loaded anew; kept for tabs that
    /// [`Chromium::open`] opened.
    pub fn transferred(&self) -> (u64, u64) {
        (
            self.transferred.load(Ordering::Relaxed),
            self.requests.load(Ordering::Relaxed),
        )
    }

    /// Shows this tab rather than the one that was opened last.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn bring_to_front(&self) -> Result<()> {
        self.chromium.wait(self.page.bring_to_front())?;
        Ok(())
    }

    /// Closes it.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn close(self) -> Result<()> {
        self.chromium.wait(self.page.close())
    }

    /// Lays the page out for a screen of this size, in the light or the dark scheme.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn show_as(&self, width: u32, height: u32, dark: bool) -> Result<()> {
        let screen =
            SetDeviceMetricsOverrideParams::new(i64::from(width), i64::from(height), 1.0, width < 600);
        self.chromium.wait(self.page.execute(screen))?;
        let scheme = MediaFeature::new("prefers-color-scheme", if dark { "dark" } else { "light" });
        self.chromium
            .wait(self.page.emulate_media_features(vec![scheme]))?;
        Ok(())
    }

    /// A PNG of the whole page, however long.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn screenshot(&self) -> Result<Vec<u8>> {
        let all = ScreenshotParams::builder()
            .full_page(true)
            .capture_beyond_viewport(true)
            .build();
        self.chromium.wait(self.page.screenshot(all))
    }

    /// Every error that the console of this page has shown; kept for tabs that [`Chromium::open`] opened.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
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
