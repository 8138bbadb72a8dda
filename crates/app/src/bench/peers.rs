//! Other programs that read the same capture, as far as they are installed, in one sitting: what is
//! said is a ratio, because absolute times tell more of the machine than of the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;

use crate::replay::now;

/// How one program did, as the median of its runs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) wall_secs: f64,
    /// Processor time, user and system.
    pub(super) cpu_secs: f64,
    /// How often this program's time Thymus took; 1 for itself.
    pub(super) wall_ratio: f64,
    pub(super) cpu_ratio: f64,
}

/// Programs and how they are called for one capture; `{}` stands for a scratch folder.
const PEERS: [(&str, &str, &[&str], &[&str]); 4] = [
    ("a plain copy", "tcpdump", &["-r"], &["-w", "-"]),
    ("nDPI", "ndpiReader", &["-q", "-i"], &[]),
    ("Zeek", "zeek", &["-C", "-r"], &[]),
    ("Suricata", "suricata", &["-r"], &["-l", "."]),
];

/// Runs Thymus and its peers in turn over `path`, `runs` times each.
pub(super) fn measure(path: &Path, runs: usize) -> Result<Vec<Peer>> {
    let path = std::path::absolute(path)?;
    let scratch = Scratch::new()?;
    let mut contestants = vec![(
        "thymus",
        std::env::current_exe()?,
        vec!["replay".into(), "--json".into(), path.clone()],
    )];
    for (name, program, before, after) in PEERS {
        let Some(program) = installed(program) else {
            continue;
        };
        let args = before.iter().map(PathBuf::from);
        let args = args.chain([path.clone()]);
        let args = args.chain(after.iter().map(PathBuf::from)).collect();
        contestants.push((name, program, args));
    }
    let mut times = vec![Vec::new(); contestants.len()];
    for _ in 0..runs {
        for ((name, program, args), times) in contestants.iter().zip(&mut times) {
            let mut command = Command::new(program);
            command.args(args).current_dir(&scratch.0);
            times.push(time(name, command)?);
        }
    }
    let medians: Vec<(f64, f64)> = times.iter().map(|times| median(times)).collect();
    let ours = medians.first().copied().context("nothing was run")?;
    let peers = contestants.iter().zip(medians);
    let peers = peers.map(|((name, ..), (wall_secs, cpu_secs))| Peer {
        name,
        wall_secs,
        cpu_secs,
        wall_ratio: ours.0 / wall_secs.max(1e-9),
        cpu_ratio: ours.1 / cpu_secs.max(1e-9),
    });
    Ok(peers.collect())
}

fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Wall and processor seconds of one run.
fn time(name: &str, mut command: Command) -> Result<(f64, f64)> {
    let cpu = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let secs =
            |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        anyhow::Ok(secs(usage.user_time()) + secs(usage.system_time()))
    };
    let (before, began) = (cpu()?, now());
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {name}"))?;
    let wall = began.elapsed().as_secs_f64();
    // Thymus says with 1 that it found something.
    if !matches!(status.code(), Some(0 | 1)) {
        bail!("{name} did not read the capture: {status}");
    }
    Ok((wall, cpu()? - before))
}

fn median(times: &[(f64, f64)]) -> (f64, f64) {
    let middle = |part: fn(&(f64, f64)) -> f64| {
        let mut sorted: Vec<f64> = times.iter().map(part).collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    };
    (middle(|time| time.0), middle(|time| time.1))
}

/// A folder for what other programs write, removed when it goes out of scope.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let name = format!("thymus-bench-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be done about a folder that does not go away.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_taken_of_wall_and_processor_time_apart() {
        assert_eq!(median(&[(3.0, 1.0), (1.0, 9.0), (2.0, 5.0)]), (2.0, 5.0));
    }
}
