//! The user's own indicator lists: CSV, STIX 2.1 bundles, MISP events. A hit is an observation whose
//! source is the list's file name: evidence, never a verdict.
//!
//! Read are addresses and networks, domains (which match the names below them), URLs, and file
//! digests. Anything else in a list is counted and left out. STIX patterns are read when they are
//! plain equalities, joined by OR or not (STIX 2.1, section 9).

mod lists;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use rustc_hash::FxHashMap;
use thymus_schema::{DnsAnswer, Event, EventBody, Observation};

use crate::error::IngestError;

/// Most indicators over all lists.
const INDICATORS_MAX: usize = 2_000_000;
/// Most bytes of one list.
const LIST_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What an indicator names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IndicatorKind {
    /// An address or a network.
    Address,
    /// A domain and all names below it.
    Domain,
    /// A URL, without its scheme.
    Url,
    /// A file's digest, hex.
    Digest,
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Indicator {
    pub(crate) kind: IndicatorKind,
    /// Lower case, as it is compared.
    pub(crate) value: String,
    pub(crate) comment: Box<str>,
}

/// Indicators of all lists, ready to be compared with events.
#[derive(Debug, Default)]
pub struct Indicators {
    sources: Vec<Box<str>>,
    addresses: FxHashMap<IpAddr, Hit>,
    /// Networks by their length, longest first, so that a lookup is one probe per length.
    networks: BTreeMap<(bool, std::cmp::Reverse<u8>), FxHashMap<IpNet, Hit>>,
    domains: FxHashMap<Box<str>, Hit>,
    urls: FxHashMap<Box<str>, Hit>,
    digests: FxHashMap<Box<str>, Hit>,
    count: usize,
    /// Lines that hold no indicator that is understood, or that came after the most that are kept.
    pub left_out: u64,
}

#[derive(Clone, Debug)]
struct Hit {
    source: usize,
    comment: Box<str>,
}

impl Indicators {
    /// Reads the lists at `paths`.
    ///
    /// # Errors
    /// When a list cannot be read, is larger than 256 MiB, or holds no indicator at all.
    pub fn load(paths: &[PathBuf]) -> Result<Self, IngestError> {
        let mut indicators = Self::default();
        for path in paths {
            indicators.load_one(path)?;
        }
        Ok(indicators)
    }

    /// How many indicators there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first hit of an event on a list: the name it asked for, the address it went to, the URL,
    /// the digest.
    pub fn observe(&self, event: &Event) -> Option<Observation> {
        if self.is_empty() {
            return None;
        }
        let (kind, value, hit) = self.of_body(&event.body).or_else(|| {
            let conn = event.conn.as_ref()?;
            [conn.server.addr, conn.client.addr]
                .into_iter()
                .find_map(|addr| self.address(addr))
        })?;
        Some(Observation {
            source: self.sources.get(hit.source).cloned().unwrap_or_default(),
            name: format!("listed {kind}").into(),
            category: "indicator".into(),
            severity: 0,
            detail: if hit.comment.is_empty() {
                value.into()
            } else {
                format!("{value}: {}", hit.comment).into()
            },
            about: Vec::new(),
            techniques: Vec::new(),
            file: None,
        })
    }

    fn of_body(&self, body: &EventBody) -> Option<(&'static str, String, &Hit)> {
        match body {
            EventBody::Dns(dns) => self.domain(&dns.query).or_else(|| {
                let addresses = dns.answers.iter().filter_map(DnsAnswer::addr);
                addresses.into_iter().find_map(|addr| self.address(addr))
            }),
            EventBody::Tls(tls) => self.domain(&tls.sni),
            EventBody::Http(http) => {
                let host = without_port(&http.host);
                self.url(&http.host, &http.uri)
                    .or_else(|| self.domain(host))
            }
            EventBody::FileSeen(file) => {
                let hit = self.digests.get(&*file.sha256)?;
                Some(("file digest", file.sha256.to_string(), hit))
            }
            _ => None,
        }
    }

    fn address(&self, addr: IpAddr) -> Option<(&'static str, String, &Hit)> {
        let addr = addr.to_canonical();
        if let Some(hit) = self.addresses.get(&addr) {
            return Some(("address", addr.to_string(), hit));
        }
        self.networks.iter().find_map(|((v4, bits), networks)| {
            let network = IpNet::new(addr, bits.0)
                .ok()
                .filter(|_| *v4 == addr.is_ipv4())?
                .trunc();
            let hit = networks.get(&network)?;
            Some(("network", format!("{addr} in {network}"), hit))
        })
    }

    /// The name or a parent of it.
    fn domain(&self, name: &str) -> Option<(&'static str, String, &Hit)> {
        let lower = name.to_ascii_lowercase();
        let mut rest = lower.as_str();
        while !rest.is_empty() {
            if let Some(hit) = self.domains.get(rest) {
                return Some(("domain", lower.clone(), hit));
            }
            rest = rest.split_once('.').map_or("", |(_, parent)| parent);
        }
        None
    }

    fn url(&self, host: &str, uri: &str) -> Option<(&'static str, String, &Hit)> {
        if self.urls.is_empty() {
            return None;
        }
        let absolute = if uri.contains("://") {
            uri.to_owned()
        } else {
            format!("{host}{uri}")
        };
        let url = url_key(&absolute);
        let hit = self.urls.get(url.as_str())?;
        Some(("URL", url, hit))
    }

    fn load_one(&mut self, path: &Path) -> Result<(), IngestError> {
        let refuse = |reason: String| IngestError::Indicators {
            path: path.to_path_buf(),
            reason,
        };
        let size = std::fs::metadata(path)
            .map_err(|error| refuse(format!("{error}; check the path")))?
            .len();
        if size > LIST_BYTES_MAX {
            return Err(refuse(format!("{size} bytes are too many; split it")));
        }
        let bytes = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
        let (list, left_out) = lists::read(&bytes).map_err(&refuse)?;
        self.left_out += left_out;
        if list.is_empty() {
            return Err(refuse(
                "no address, domain, URL or file digest in it; give CSV with one value a line, a \
                 STIX 2.1 bundle or a MISP event"
                    .to_owned(),
            ));
        }
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let source = self.sources.len();
        self.sources.push(name.unwrap_or_default().into());
        for indicator in list {
            self.add(indicator, source);
        }
        Ok(())
    }

    fn add(&mut self, indicator: Indicator, source: usize) {
        if self.count >= INDICATORS_MAX {
            self.left_out += 1;
            return;
        }
        let hit = Hit {
            source,
            comment: indicator.comment,
        };
        let value = indicator.value;
        match indicator.kind {
            IndicatorKind::Address => {
                if let Ok(addr) = value.parse::<IpAddr>() {
                    self.addresses.entry(addr.to_canonical()).or_insert(hit);
                } else if let Ok(network) = value.parse::<IpNet>() {
                    let key = (
                        network.addr().is_ipv4(),
                        std::cmp::Reverse(network.prefix_len()),
                    );
                    self.networks
                        .entry(key)
                        .or_default()
                        .entry(network.trunc())
                        .or_insert(hit);
                }
            }
            IndicatorKind::Domain => drop(self.domains.entry(value.into()).or_insert(hit)),
            IndicatorKind::Url => drop(self.urls.entry(url_key(&value).into()).or_insert(hit)),
            IndicatorKind::Digest => drop(self.digests.entry(value.into()).or_insert(hit)),
        }
        self.count += 1;
    }
}

/// A URL as it is compared: without scheme, port 80 or 443, or final slash; the host in lower case.
fn url_key(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, path) = rest
        .find('/')
        .and_then(|at| rest.split_at_checked(at))
        .unwrap_or((rest, ""));
    let host = host
        .strip_suffix(":80")
        .or_else(|| host.strip_suffix(":443"))
        .unwrap_or(host);
    format!(
        "{}{}",
        host.to_ascii_lowercase(),
        path.trim_end_matches('/')
    )
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests;
