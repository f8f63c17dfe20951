//! Progress on standard error, and none where that is not a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of this many steps.
pub(crate) fn bar(what: &'static str, steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps).with_message(what);
    let shape = "{msg:>12} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(shape) {
        bar.set_style(style);
    }
    bar
}
