//! `thymus demo`: replays the capture that comes with Thymus.

use std::path::PathBuf;

use anyhow::{Result, anyhow};

use crate::Found;
use crate::cli::{DemoArgs, RunArgs};
use crate::replay::replay;

/// Where the captures are: given by the environment, beside the program, in the working folder, or
/// in the source tree the program was built in.
const PLACES: &[&str] = &["captures", "../share/thymus/captures", "../../lab/captures"];
const NAME: &str = "story";
const ENDINGS: &[&str] = &[
    "pcap",
    "pcapng",
    "pcap.gz",
    "pcapng.gz",
    "pcap.zst",
    "pcapng.zst",
];

/// Runs the command.
///
/// # Errors
/// When the capture is not there, and as [`replay`].
pub(crate) fn run(args: &DemoArgs) -> Result<Found> {
    let capture = find().ok_or_else(|| {
        anyhow!(
            "the demo capture is not here; run from the source folder, or set THYMUS_CAPTURES to \
             the folder lab/captures of the sources"
        )
    })?;
    if !args.output.json {
        eprintln!("thymus replay {}", capture.display());
    }
    let run = RunArgs {
        local: vec![],
        budget: 5.0,
        indicators: vec![],
        state: None,
    };
    replay(vec![capture], &run, &args.output)
}

fn find() -> Option<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(PathBuf::from));
    let given = std::env::var_os("THYMUS_CAPTURES").map(PathBuf::from);
    let folders = given
        .into_iter()
        .chain([PathBuf::from("lab/captures")])
        .chain(
            PLACES
                .iter()
                .filter_map(|place| Some(beside.as_ref()?.join(place))),
        );
    let candidates = folders.flat_map(|folder| {
        let names = ENDINGS.iter().map(|ending| format!("{NAME}.{ending}"));
        names.map(move |name| folder.join(name)).collect::<Vec<_>>()
    });
    candidates.into_iter().find(|path| path.is_file())
}
