//! `cargo xtask ci`: the whole of CI, on a laptop and on a server alike. Each step is a command of
//! its own; `ci` runs them in order and stops at the first that fails.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

mod api;
mod bouncer;
mod counts;
mod edges;
mod fuzz;
mod outputs;
mod package;
mod pages;
mod steps;
mod text;
mod tidy;
mod ui;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask STEP...

  ci          every step below, in this order
  fmt         rustfmt --check
  tidy        crate edges, registries, file sizes, words, docs that name what is gone
  pages       docs/detectors/*.md are what the detectors' own files say (--write rewrites them)
  clippy      all lints are errors
  test        every test of the workspace, but for YARA rules
  doc         rustdoc, warnings are errors
  deny        licences, bans and sources of all dependencies (installs cargo-deny if missing)
  fuzz-build  every fuzz target builds
  ui          the browser console: types, tests, that its bundle is what its sources build to, and its
              whole story in Chromium (not part of ci)
  load        fills a console with 500 devices and 100,000 alerts, and prints how soon its API answers and how
              long its pages are busy in Chromium (not part of ci)
  api         asks a real console for everything its OpenAPI document promises, with schemathesis from PyPI
              (not part of ci)
  outputs     what is told to others, taken by what others use: validators from PyPI, rsyslog, a mail server,
              promtool (not part of ci)
  bouncer     Debian's crowdsec-firewall-bouncer asks a console what to ban, in a namespace (not part of ci)
  yara        lints and tests of YARA rules, whose engine takes minutes to build (not part of ci)
  deb         builds the Debian package, installs, tries, removes and purges it in a folder (not part of ci)
  fuzz SECS [TARGET...]
              fuzzes the targets named, or all, for SECS seconds each, led by coverage (not part of ci)
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_none() {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    }
    while let Some(step) = arguments.next() {
        let result = match step.as_str() {
            "ci" => steps::ci(),
            "fmt" => steps::fmt(),
            "tidy" => tidy::run(),
            "pages" => pages::run(arguments.next_if(|next| next == "--write").is_some()),
            "clippy" => steps::clippy(),
            "test" => steps::test(),
            "doc" => steps::doc(),
            "deny" => steps::deny(),
            "fuzz-build" => steps::fuzz_build(),
            "ui" => ui::all(),
            "load" => ui::load(),
            "api" => api::all(),
            "outputs" => outputs::all(),
            "bouncer" => bouncer::all(),
            "yara" => steps::yara(),
            "deb" => package::deb(),
            "fuzz" => fuzz::run_all(
                &arguments.next().unwrap_or_default(),
                &arguments.by_ref().collect::<Vec<String>>(),
            ),
            other => {
                eprint!("no such step: {other}\n\n{USAGE}");
                return ExitCode::from(2);
            }
        };
        if let Err(error) = result {
            eprintln!("xtask {step}: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
