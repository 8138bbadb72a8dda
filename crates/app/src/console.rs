//! What the terminal can do, and the progress bar. A pipe or a file gets plain text and no bar.

use std::io::{IsTerminal, stderr, stdout};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Columns when output is not a terminal.
const WIDTH_PLAIN: usize = 100;
/// Wider lines are hard to read.
const WIDTH_MAX: usize = 110;

/// How to print results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paper {
    /// Columns.
    pub(crate) width: usize,
    /// Whether colour may be used.
    pub(crate) colour: bool,
}

impl Paper {
    /// Standard output as it is.
    pub(crate) fn stdout() -> Self {
        if !stdout().is_terminal() {
            return Self {
                width: WIDTH_PLAIN,
                colour: false,
            };
        }
        let (_, columns) = console::Term::stdout().size();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = usize::from(columns).clamp(40, WIDTH_MAX);
        Self {
            width,
            colour: !no_colour,
        }
    }
}

/// Progress of reading, drawn on standard error when that is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar over `total` bytes; invisible when `quiet` or when nobody watches.
    pub(crate) fn bytes(total: u64, quiet: bool) -> Self {
        let template = "{bar:30.cyan/dim} {percent:>3} %  {bytes} of {total_bytes}  \
                        {bytes_per_sec}  {eta} left  {msg}";
        Self::new(total, quiet, template)
    }

    /// A bar over `total` pieces of work.
    pub(crate) fn count(total: u64, quiet: bool) -> Self {
        Self::new(
            total,
            quiet,
            "{bar:30.cyan/dim} {pos} of {len}  {eta} left  {msg}",
        )
    }

    /// A bar over files, whose number becomes known later.
    pub(crate) fn files(quiet: bool) -> Self {
        let template = "{bar:30.cyan/dim} {pos} of {len} files  {per_sec}  {eta} left  {msg}";
        Self::new(0, quiet, template)
    }

    /// Whether somebody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Takes the total, once it is known, from another thread.
    pub(crate) fn counter(&self) -> impl FnOnce(u64) + Send + 'static {
        let bar = self.bar.clone();
        move |total| bar.set_length(total)
    }

    /// Does something that prints, with the bar out of the way.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    fn new(total: u64, quiet: bool, template: &str) -> Self {
        if quiet || !stderr().is_terminal() {
            return Self {
                bar: ProgressBar::hidden(),
            };
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar }
    }

    /// Moves the bar to `done`.
    pub(crate) fn to(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Moves the bar by one and names what is at hand.
    pub(crate) fn step(&self, what: &str) {
        self.bar.inc(1);
        self.bar.set_message(what.to_owned());
    }

    /// Removes the bar.
    pub(crate) fn done(&self) {
        self.bar.finish_and_clear();
    }
}
