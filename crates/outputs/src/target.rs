//! Where an output goes and how, as one address: `syslog+tls://siem.example.org:6514?format=cef&ca=/etc/ssl/siem.pem`.
//!
//! What is not understood is refused, so that a slip of the pen is told at the start and not found out when an incident
//! did not arrive. Secrets stand in files, never in the address: command lines are seen by everybody on a host.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::Read;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::str::FromStr;

use url::{Host, Url};

use crate::format::syslog::Sender;

/// A longer file is no secret and no certificate.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why an output cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("output {target}: {why}")]
pub struct TargetError {
    target: String,
    why: String,
}

/// An address with options.
#[derive(Clone, Debug)]
pub struct Target {
    url: Url,
    options: Vec<(String, String)>,
}

impl Target {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let wrong = |why: String| TargetError {
            // It may hold what somebody took for the place of a password.
            target: text.split("://").next().unwrap_or_default().to_owned() + "://…",
            why,
        };
        let mut url: Url = text
            .parse()
            .map_err(|error: url::ParseError| wrong(error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "a name or password does not belong here; see user= and password-file=".to_owned(),
            ));
        }
        if url.fragment().is_some() {
            return Err(wrong("what stands behind # is not understood".to_owned()));
        }
        let options = url.query_pairs().into_owned().collect();
        url.set_query(None);
        Ok(Self { url, options })
    }

    /// What it begins with.
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// Where it goes, for people: without options, and without the path of a webhook, which can be a secret.
    pub fn shown(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self
            .url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let path = if host.is_empty() { self.url.path() } else { "" };
        format!("{}://{host}{port}{path}", self.url.scheme())
    }

    /// A name of its own: the same address has the same, whatever its options.
    pub(crate) fn own_name(&self) -> String {
        let digest = blake3::hash(self.url.as_str().as_bytes());
        let digest: String = digest.to_hex().chars().take(8).collect();
        let words = format!(
            "{}-{}",
            self.url.scheme(),
            self.url.host_str().unwrap_or_default()
        );
        let words: String = words
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(48)
            .collect();
        format!("{}-{digest}", words.trim_end_matches('-'))
    }

    /// An error about it.
    pub(crate) fn wrong(&self, why: impl Display) -> TargetError {
        TargetError {
            target: self.shown(),
            why: why.to_string(),
        }
    }

    pub(crate) fn host(&self) -> Result<String, TargetError> {
        match self.url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => Ok(name.to_owned()),
            Some(Host::Ipv4(ip)) => Ok(ip.to_string()),
            Some(Host::Ipv6(ip)) => Ok(ip.to_string()),
            _ => Err(self.wrong("names no host")),
        }
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.url.port()
    }

    /// The path, for files; percent signs are taken for what they stand for.
    pub(crate) fn path(&self) -> String {
        let path = self.url.to_file_path();
        path.map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// The path of a request, with what the option `query` says behind it.
    pub(crate) fn path_and_query(&mut self) -> String {
        let query = self.options("query").pop();
        let mut url = self.url.clone();
        url.set_query(query.as_deref());
        match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        }
    }

    /// Takes all values of an option.
    pub(crate) fn options(&mut self, key: &str) -> Vec<String> {
        let (found, rest) = self.options.drain(..).partition(|(name, _)| name == key);
        self.options = rest;
        let found: Vec<(String, String)> = found;
        found.into_iter().map(|(_, value)| value).collect()
    }

    /// Takes an option that may be given once.
    pub(crate) fn option(&mut self, key: &str) -> Result<Option<String>, TargetError> {
        let mut all = self.options(key);
        if all.len() > 1 {
            return Err(self.wrong(format!("{key} is given twice")));
        }
        Ok(all.pop())
    }

    /// Takes an option that is something.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: &str,
    ) -> Result<Option<T>, TargetError> {
        let Some(text) = self.option(key)? else {
            return Ok(None);
        };
        let parsed = text
            .parse()
            .map_err(|error| self.wrong(format!("{key}={text}: {error}")))?;
        Ok(Some(parsed))
    }

    pub(crate) fn number(
        &mut self,
        key: &str,
        usual: usize,
        range: RangeInclusive<usize>,
    ) -> Result<usize, TargetError> {
        let number = self.parsed(key)?.unwrap_or(usual);
        if range.contains(&number) {
            return Ok(number);
        }
        Err(self.wrong(format!(
            "{key} is from {} to {}",
            range.start(),
            range.end()
        )))
    }

    /// Takes an option that is one of some words, of which the first is meant when it is not given.
    pub(crate) fn one_of(
        &mut self,
        key: &str,
        words: &[&'static str],
    ) -> Result<&'static str, TargetError> {
        let text = self.option(key)?;
        let found = match &text {
            None => words.first(),
            Some(text) => words.iter().find(|word| *word == text),
        };
        found
            .copied()
            .ok_or_else(|| self.wrong(format!("{key} is one of {}", words.join(", "))))
    }

    /// Takes the options of syslog.
    pub(crate) fn sender(&mut self, host: &str) -> Result<Sender, TargetError> {
        let own = Sender::default();
        let facility = self.number("facility", usize::from(own.facility), 0..=23)?;
        Ok(Sender {
            host: self.option("hostname")?.unwrap_or_else(|| host.to_owned()),
            facility: facility as u8,
        })
    }

    /// The content of the file that an option names.
    pub(crate) fn file(&mut self, key: &str) -> Result<Option<Vec<u8>>, TargetError> {
        let Some(path) = self.option(key)? else {
            return Ok(None);
        };
        let read = || {
            let mut content = Vec::new();
            let file = File::open(&path)?;
            file.take(FILE_BYTES_MAX).read_to_end(&mut content)?;
            std::io::Result::Ok(content)
        };
        let content =
            read().map_err(|error| self.wrong(format!("cannot read {key} {path}: {error}")))?;
        Ok(Some(content))
    }

    /// The secret in the file that an option names: its text without the end of the line. A file that everybody can
    /// read holds no secret.
    pub(crate) fn secret(&mut self, key: &str) -> Result<Option<String>, TargetError> {
        let path = self
            .options
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, path)| path.clone());
        let Some(content) = self.file(key)? else {
            return Ok(None);
        };
        let path = path.unwrap_or_default();
        let mode = fs::metadata(&path).map_or(0, |meta| meta.permissions().mode());
        if mode & 0o007 != 0 {
            return Err(self.wrong(format!("everybody can read {key} {path}; chmod o-rwx it")));
        }
        let text = String::from_utf8(content)
            .ok()
            .filter(|text| !text.trim().is_empty());
        let text = text.ok_or_else(|| self.wrong(format!("{key} {path} holds no text")))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(&self) -> Result<(), TargetError> {
        match self.options.first() {
            None => Ok(()),
            Some((name, _)) => Err(self.wrong(format!("it has no option {name}"))),
        }
    }
}
