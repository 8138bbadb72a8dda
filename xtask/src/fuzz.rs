//! `cargo xtask fuzz SECS`: libFuzzer over every parser, led by coverage. The corpus begins with the
//! parsers' own cases and grows in `fuzz/corpus`, so a later run goes on from an earlier one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::steps::{cargo_command, fuzz_target, have_cpp_compiler, root, run};

/// The coverage libFuzzer is led by; these flags need no nightly compiler.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1";

/// Fuzzes the targets `only` names, or all, for `secs` seconds each.
pub(crate) fn run_all(secs: &str, only: &[String]) -> Result<()> {
    let secs: u64 = secs
        .parse()
        .context("fuzz wants a number of seconds per target")?;
    let mut targets = crate::tidy::stems(&root().join("fuzz/fuzz_targets"), "rs")?;
    for name in only {
        ensure!(targets.contains(name), "no fuzz target {name}");
    }
    targets.retain(|target| only.is_empty() || only.contains(target));
    have_cpp_compiler()?;
    let host = host()?;
    let mut build = cargo_command(&["build", "--quiet", "--release", "--locked"]);
    for target in &targets {
        build.args(["--bin", target]);
    }
    run(build
        // Named, so that the flags are not given to build scripts and procedural macros.
        .args(["--target", &host])
        .current_dir(root().join("fuzz"))
        .env("RUSTFLAGS", COVERAGE)
        .env("CARGO_TARGET_DIR", fuzz_target()))?;
    let mut failed = Vec::new();
    for target in &targets {
        println!("== fuzz {target}");
        let corpus = root().join("fuzz/corpus").join(target);
        sow(target, &corpus)?;
        let program = fuzz_target().join(&host).join("release").join(target);
        let artifacts = format!(
            "-artifact_prefix={}/{target}-",
            corpus.parent().unwrap_or(&corpus).display()
        );
        let mut command = Command::new(program);
        command
            .arg(format!("-max_total_time={secs}"))
            .args([
                "-timeout=10",
                "-rss_limit_mb=512",
                "-max_len=8192",
                "-print_final_stats=1",
            ])
            .arg(artifacts)
            .arg(&corpus);
        if let Err(error) = run(&mut command) {
            eprintln!("{error:#}");
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!(
            "failed: {}; the inputs lie beside fuzz/corpus/TARGET",
            failed.join(", ")
        );
    }
    println!("{} fuzz targets, {secs} s each: no failure", targets.len());
    Ok(())
}

/// The name of the machine the compiler runs on.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.context("start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

/// Puts the parser's own cases into its corpus.
fn sow(target: &str, corpus: &Path) -> Result<()> {
    fs::create_dir_all(corpus).with_context(|| format!("create {}", corpus.display()))?;
    let mut cases = root().join("crates/parsers/cases").join(target);
    if !cases.is_dir() {
        cases = root().join("crates/scan/cases").join(target);
    }
    for stem in crate::tidy::stems(&cases, "hex")? {
        let path: PathBuf = cases.join(&stem).with_extension("hex");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        fs::write(corpus.join(&stem), bytes_of(&text))?;
    }
    Ok(())
}

/// The bytes of hexadecimal digits in any layout; `#` starts a remark.
fn bytes_of(text: &str) -> Vec<u8> {
    let lines = text.lines().filter_map(|line| line.split('#').next());
    let digits: Vec<u8> = lines
        .flat_map(str::chars)
        .filter_map(|c| c.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    let pairs = digits.chunks_exact(2);
    pairs.map(|pair| (pair[0] << 4) | pair[1]).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_in_any_layout_are_bytes() {
        assert_eq!(super::bytes_of("de ad # remark be\nEF"), [0xde, 0xad, 0xef]);
    }
}
