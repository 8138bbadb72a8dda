//! The configuration file of `thymus run`: read, merged with the command line, checked, shown.

mod file;
mod keys;
mod settings;

use std::ffi::OsString;
use std::io::{Write, stdout};
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, Parser};
use serde::Serialize;
use thymus_analyst::legible;
use thymus_ingest::Indicators;
use thymus_sensor::Interface;
use thymus_server::TlsFiles;

use crate::Found;
use crate::cli::{Cli, Command, ConfigAction, ConfigArgs, LiveArgs};
use crate::tell;
use keys::KEYS;
pub(crate) use keys::Takes;
use settings::Origin;
pub(crate) use settings::{Change, Settings};

/// The command line of this process, with what a configuration file adds to it.
///
/// # Errors
/// When there is something wrong with the file. What is wrong with the command line itself ends the process.
pub(crate) fn command_line() -> Result<Cli> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let Some(settings) = Settings::of(&words)? else {
        return Ok(Cli::parse());
    };
    match together(&settings) {
        Ok(args) => Ok(Cli {
            command: Command::Run(Box::new(args)),
        }),
        Err(error) if settings.file().is_some() => Err(error),
        // Said in the words of the command line, with its usage.
        Err(_) => Ok(Cli::parse()),
    }
}

/// What the file and the command line say, as options of a run.
///
/// # Errors
/// When it does not go together.
pub(crate) fn together(settings: &Settings) -> Result<LiveArgs> {
    settings.parsed().map_err(|error| {
        let text = error.to_string();
        let text = text.trim_start_matches("error: ");
        let end = text.find("\n\nUsage").unwrap_or(text.len());
        let said = text.get(..end).unwrap_or(text).trim_end();
        match settings.file() {
            Some(file) => anyhow::anyhow!("{} and the command line: {said}", shown(file)),
            None => anyhow::anyhow!("{said}"),
        }
    })
}

fn shown(path: &Path) -> String {
    legible(&path.to_string_lossy())
}

/// Runs `thymus config`.
///
/// # Errors
/// When a file cannot be shown.
pub(crate) fn run(args: &ConfigArgs) -> Result<Found> {
    match &args.action {
        ConfigAction::Check { file, options } => Ok(match check(file, options) {
            Ok(said) => {
                writeln!(stdout(), "{said}")?;
                Found::Nothing
            }
            Err(error) => {
                eprintln!("thymus: {error:#}");
                Found::Something
            }
        }),
        ConfigAction::Show {
            file,
            json,
            options,
        } => show(&settings_of(file.as_deref(), options)?, *json),
    }
}

fn settings_of(file: Option<&Path>, options: &[OsString]) -> Result<Settings> {
    let mut words: Vec<OsString> = vec!["thymus".into(), "run".into()];
    words.extend(options.iter().cloned());
    if let Some(file) = file {
        words.extend(["--config".into(), file.into()]);
    }
    if let Some(settings) = Settings::of(&words)? {
        return Ok(settings);
    }
    let error = settings::relaxed().try_get_matches_from(&words).err();
    let error = error.map(|error| error.to_string()).unwrap_or_default();
    bail!("these are no options of a run: {}", error.trim_end())
}

fn check(file: &Path, options: &[OsString]) -> Result<String> {
    let settings = settings_of(Some(file), options)?;
    let name = shown(file);
    if !settings.has_source() {
        return Ok(format!(
            "{name}: all of it is understood; it names nothing to watch, so how it goes together was not looked at \
             (thymus config check {name} -- --interface IF)"
        ));
    }
    let args = together(&settings)?;
    rehearse(&args, None).with_context(|| name.clone())?;
    Ok(format!("{name}: all of it is understood and can be used"))
}

/// Looks whether what settings name can be used, beside a run that goes on with `present` ones.
///
/// # Errors
/// When it cannot, with the reason.
pub(crate) fn rehearse(args: &LiveArgs, present: Option<&LiveArgs>) -> Result<()> {
    sound(args)?;
    Indicators::load(&args.run.indicators)?;
    if let (Some(filter), Some(name)) = (&args.filter, &args.interface)
        && let Ok(interface) = Interface::find(name)
    {
        filter.check(interface.link_type).context("filter")?;
    }
    let tls = args
        .console_tls_cert
        .clone()
        .zip(args.console_tls_key.clone());
    if let Some((certificate, key)) = tls {
        TlsFiles { certificate, key }.check()?;
    }
    tell::check(&args.outputs)?;
    if let (Some(address), Some(present)) = (args.console, present)
        // The console itself may hold another address of the same port.
        && present.console.map(|at| at.port()) != Some(address.port())
    {
        TcpListener::bind(address)
            .with_context(|| format!("console: cannot listen at {address}"))?;
    }
    Ok(())
}

/// What options ask of one another, and the command line does not see where sources exclude each other.
///
/// # Errors
/// When one is there that nothing comes of.
pub(crate) fn sound(args: &LiveArgs) -> Result<()> {
    const OF_INTERFACE: [&str; 4] = ["filter", "no-promiscuous", "record", "record-size"];
    const OF_CONSOLE: [&str; 3] = ["keep-events", "keep-event-days", "keep-incident-days"];
    let set_of = |names: &[&'static str]| {
        let settings = args.settings.as_ref();
        let is_set = |name: &&str| settings.is_some_and(|all| all.get(name).is_some());
        names.iter().copied().find(is_set)
    };
    if let Some(name) = set_of(&OF_INTERFACE)
        && args.interface.is_none()
    {
        bail!("{name} goes with --interface only, and something else is watched");
    }
    if args.only_new && args.follow.is_empty() {
        bail!("only-new goes with --follow only, and something else is watched");
    }
    if let Some(name) = set_of(&OF_CONSOLE)
        && args.console.is_none()
    {
        bail!(
            "{name} is for the console, which is not asked for: add --console, or give it to \
             `thymus console`"
        );
    }
    Ok(())
}

/// A setting as it is shown.
#[derive(Serialize)]
pub(crate) struct Shown {
    name: &'static str,
    values: Vec<String>,
    origin: String,
    takes: &'static str,
}

/// Every setting, with what it is when nobody says anything.
pub(crate) fn all(settings: &Settings) -> Vec<Shown> {
    let command = Cli::command();
    let run = command.find_subcommand("run");
    let default = |name: &str| -> Vec<String> {
        let found = run.and_then(|run| run.get_arguments().find(|a| a.get_long() == Some(name)));
        let values = found.map(clap::Arg::get_default_values).unwrap_or_default();
        values
            .iter()
            .map(|value| value.to_string_lossy().into_owned())
            .collect()
    };
    let each = KEYS.iter().map(|key| {
        let (values, origin) = match settings.get(key.name) {
            Some(setting) => {
                let values = setting.values.iter().map(|value| value.to_string_lossy());
                let values: Vec<String> = values.map(|value| legible(&value)).collect();
                let origin = match (setting.origin, settings.file()) {
                    (Origin::Line(line), Some(file)) => format!("{}:{line}", shown(file)),
                    _ => "command line".to_owned(),
                };
                let is_switch = values.is_empty();
                (
                    if is_switch {
                        vec!["true".to_owned()]
                    } else {
                        values
                    },
                    origin,
                )
            }
            None => (default(key.name), "default".to_owned()),
        };
        Shown {
            name: key.name,
            values,
            origin,
            takes: key.takes.as_str(),
        }
    });
    each.collect()
}

fn show(settings: &Settings, json: bool) -> Result<Found> {
    let mut out = stdout().lock();
    let all = all(settings);
    if json {
        serde_json::to_writer(&mut out, &serde_json::json!({ "settings": all }))?;
        writeln!(out)?;
        return Ok(Found::Nothing);
    }
    let rows: Vec<[String; 4]> = all
        .iter()
        .map(|one| {
            let value = match one.values.as_slice() {
                [] => "-".to_owned(),
                values => values.join(", "),
            };
            [
                one.name.to_owned(),
                value,
                one.origin.clone(),
                one.takes.to_owned(),
            ]
        })
        .collect();
    let head = ["setting", "value", "from", "a change takes effect with"].map(str::to_owned);
    let width = |column: usize| {
        let each = std::iter::once(&head).chain(&rows);
        let lengths = each.filter_map(|row| row.get(column).map(|cell| cell.chars().count()));
        lengths.max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    for [name, value, origin, takes] in std::iter::once(&head).chain(&rows) {
        let [a, b, c] = widths;
        writeln!(out, "{name:a$}  {value:b$}  {origin:c$}  {takes}")?;
    }
    Ok(Found::Nothing)
}
