//! An output as it is asked for.

use std::path::PathBuf;

use crate::format::{FORMATS, Format};
use crate::outlet::{Clock, Wants};
use crate::record::{Kind, Level};
use crate::sink::{Opening, SINKS, Sink};
use crate::spool::SpoolLimits;
use crate::target::{Target, TargetError};

const SPOOL_MIB: usize = 64;
const SPOOL_MIB_MAX: usize = 64 << 10;

/// A sink with what belongs to it, ready to start.
pub struct Output {
    /// Its name, that of its spool and in health.
    pub name: String,
    /// Where it goes, without secrets.
    pub target: String,
    /// What it wants.
    pub wants: Wants,
    /// How much may wait.
    pub limits: SpoolLimits,
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// A folder it writes to.
    pub folder: Option<PathBuf>,
    /// A port it connects to by TCP.
    pub port: Option<u16>,
}

impl Output {
    /// Makes an output of its address. Files that the address names are read; nothing is connected to.
    ///
    /// # Errors
    /// When something of it is not understood, or a file cannot be read.
    pub fn open(address: &str, host: &str, clock: &Clock) -> Result<Self, TargetError> {
        let mut target = Target::parse(address)?;
        let kind = SINKS
            .iter()
            .find(|kind| kind.schemes.contains(&target.scheme()));
        let kind = kind.ok_or_else(|| {
            let known: Vec<&str> = SINKS
                .iter()
                .flat_map(|kind| kind.schemes)
                .copied()
                .collect();
            target.wrong(format!("it begins with none of {}", known.join(", ")))
        })?;
        let asked = if kind.has_formats {
            target.option("format")?
        } else {
            None
        };
        let format = asked.as_deref().unwrap_or(kind.format);
        let format = Format::by_id(format).ok_or_else(|| {
            let known: Vec<&str> = FORMATS.iter().map(|format| format.id).collect();
            target.wrong(format!("format is one of {}", known.join(", ")))
        })?;
        let tells = target.one_of("tell", &["incidents", "alerts", "decisions", "all"])?;
        let wants = Wants {
            incidents: matches!(tells, "incidents" | "all"),
            alerts: matches!(tells, "alerts" | "all"),
            decisions: tells != "alerts" && format.takes(Kind::Decision),
            level_min: target.parsed::<Level>("min")?.unwrap_or(Level::Low),
        };
        if wants.alerts && !format.takes(Kind::Alert) {
            return Err(target.wrong(format!("{} has nothing for alerts", format.id)));
        }
        if tells == "decisions" && !wants.decisions {
            return Err(target.wrong(format!("{} has nothing for decisions", format.id)));
        }
        let name = target.option("name")?;
        let name = name.unwrap_or_else(|| target.own_name());
        let is_name = (1..=64).contains(&name.len())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if !is_name {
            return Err(target.wrong("a name has letters, digits, - and _"));
        }
        let mib = target.number("spool", SPOOL_MIB, 1..=SPOOL_MIB_MAX)?;
        let opening = Opening {
            format,
            host,
            clock,
        };
        let opened = (kind.open)(&mut target, &opening)?;
        target.finish()?;
        Ok(Self {
            name,
            target: target.shown(),
            wants,
            limits: SpoolLimits::of((mib as u64) << 20),
            sink: opened.sink,
            folder: opened.folder,
            port: opened.port,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use thymus_schema::Timestamp;

    use super::*;

    fn open(address: &str) -> Result<Output, String> {
        let clock: Clock = Arc::new(|| Timestamp::from_secs(0));
        Output::open(address, "sensor", &clock).map_err(|error| error.to_string())
    }

    fn complaint(address: &str) -> String {
        open(address)
            .err()
            .unwrap_or_else(|| panic!("{address} was taken"))
    }

    #[test]
    fn schemes_are_of_one_sink_each() {
        let mut all: Vec<&str> = SINKS
            .iter()
            .flat_map(|kind| kind.schemes)
            .copied()
            .collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(SINKS.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert!(
            SINKS
                .iter()
                .all(|kind| Format::by_id(kind.format).is_some())
        );
    }

    #[test]
    fn what_is_asked_for_is_understood() {
        let output =
            open("file:///tmp/thymus.jsonl?format=ecs&min=medium&tell=all&spool=1").unwrap();
        assert_eq!(output.target, "file:///tmp/thymus.jsonl");
        assert_eq!(output.folder.unwrap().to_str(), Some("/tmp"));
        assert_eq!(output.limits.bytes_max, 1 << 20);
        assert!(output.wants.alerts && output.wants.level_min == Level::Medium);
        let output = open("syslog+tcp://[::1]:6514?format=cef&facility=4&framing=lines").unwrap();
        assert_eq!(
            (output.target.as_str(), output.port),
            ("syslog+tcp://[::1]:6514", Some(6514))
        );
        assert_eq!(
            open("syslog+tcp://siem.example.org").unwrap().port,
            Some(601)
        );
        assert_eq!(open("syslog://siem.example.org").unwrap().port, None);
        let hook = open("http://127.0.0.1:8080/secret/path?format=stix").unwrap();
        assert_eq!(hook.target, "http://127.0.0.1:8080");
        assert!(hook.name.starts_with("http-127-0-0-1-") && !hook.name.contains("secret"));
        let mail =
            "smtp+plain://127.0.0.1:2525?from=thymus@a.example&to=b@a.example&to=c@a.example";
        assert_eq!(open(mail).unwrap().port, Some(2525));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_reason() {
        for (address, why) in [
            ("nonsense", "relative URL"),
            ("ftp://host/x", "begins with none of"),
            ("file:///nowhere/at/all/x.log", "is no folder"),
            ("file:///tmp/x?fromat=ecs", "no option fromat"),
            ("file:///tmp/x?format=xml", "format is one of cef, ecs"),
            ("file:///tmp/x?format=stix&tell=all", "nothing for alerts"),
            (
                "file:///tmp/x?format=navigator&tell=decisions",
                "nothing for decisions",
            ),
            ("file:///tmp/x?min=urgent", "low, medium or high"),
            ("file:///tmp/x?spool=0", "spool is from 1"),
            ("file:///tmp/x?name=a/b", "a name has letters"),
            (
                "file:///tmp/x?format=cef&format=ecs",
                "format is given twice",
            ),
            ("tcp://siem.example.org", "names no port"),
            ("syslog+tcp://host?max=100", "max is from 480"),
            (
                "https://user:s3cr3t@hook.example/",
                "password does not belong here",
            ),
            (
                "https://hook.example/?secret-file=/nowhere",
                "cannot read secret-file",
            ),
            ("http://hook.example/?token=abc", "no option token"),
            ("smtp://mail.example.org?to=a@b.example", "say who writes"),
            (
                "smtp+plain://mail.example.org?from=a@b.example&to=a@b.example",
                "this machine only",
            ),
            (
                "smtp+plain://127.0.0.1?from=a@b.example&to=a@b.example&user=x",
                "go together",
            ),
            (
                "smtp+plain://127.0.0.1?from=nobody&to=a@b.example",
                "no address of mail",
            ),
        ] {
            let said = complaint(address);
            assert!(said.contains(why), "{address}: {said}");
            assert!(!said.contains("s3cr3t"), "{said}");
        }
    }

    #[test]
    fn a_secret_that_everybody_can_read_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "a secret of 16 b and more\n").unwrap();
        let address = format!("http://hook.example/?secret-file={}", path.display());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(complaint(&address).contains("everybody can read"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(open(&address).is_ok());
        fs::write(&path, "short\n").unwrap();
        assert!(complaint(&address).contains("shorter than 16"));
    }
}
