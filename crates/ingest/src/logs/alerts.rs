//! Alerts of other tools, one a line: Wazuh's `alerts.json`, the `logdata-anomaly-miner`'s JSON, and
//! tables (CSV) with at least a time, a name and an address or host. They become observations:
//! evidence with its source, never truth.

use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;
use thymus_parsers::Json;
use thymus_schema::{EntityId, EventBody, LocalNetworks, Observation, Timestamp};

use crate::input::Input;
use crate::logs::eve::{text, time};
use crate::logs::record::entity;
use crate::logs::{Decoded, Decoder, LogSource, Records};
use crate::source::{Head, Lane, Sniffed, SourceCx, SourceSpec};

/// Other tools' alerts.
pub(crate) const SPEC: SourceSpec = SourceSpec {
    id: "alerts",
    title: "other tools' alerts: Wazuh, AMiner, tables",
    sniff,
    look: |_, _| {},
    open,
};

/// Most entities and techniques kept of one alert.
const ITEMS_MAX: usize = 16;

fn sniff(head: &Head<'_>) -> Option<Sniffed> {
    let line = head
        .bytes
        .split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty())?;
    let format = match Json::parse(line) {
        Some(json) if !json.at(&["rule", "level"]).is_null() => "wazuh",
        Some(json) if !json.get("AnalysisComponent").is_null() => "aminer",
        Some(_) => return None,
        None => {
            Columns::read(line)?;
            "table"
        }
    };
    Some(Sniffed {
        format: format.to_owned(),
        first: None,
    })
}

fn open(inputs: Vec<Input>, cx: &SourceCx) -> Vec<Lane> {
    let local = cx.local.clone();
    LogSource::lanes(inputs, move |input| {
        decoder(&input.format, &input.path, &local)
    })
}

/// Reads lines of the alerts in the file at `path`, whose name stands for a tool that is not named.
pub(crate) fn decoder(format: &str, path: &Path, local: &LocalNetworks) -> Box<dyn Decoder> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Box::new(AlertDecoder {
        local: local.clone(),
        table: format == "table",
        name: name.unwrap_or_default(),
        columns: None,
        header: Vec::new(),
    })
}

struct AlertDecoder {
    local: LocalNetworks,
    table: bool,
    name: String,
    columns: Option<Columns>,
    /// The line that names the columns, kept so that reading can go on behind it.
    header: Vec<u8>,
}

impl Decoder for AlertDecoder {
    fn line(&mut self, line: &[u8], records: &mut Records) -> Decoded {
        if line.trim_ascii().is_empty() {
            return Decoded::Nothing;
        }
        let observed = if self.table {
            let Some(columns) = &self.columns else {
                self.columns = Columns::read(line);
                self.header = line.to_vec();
                return Decoded::Nothing;
            };
            if line == self.header {
                return Decoded::Nothing;
            }
            columns.row(line, &self.name, &self.local)
        } else {
            let Some(json) = Json::parse(line) else {
                return Decoded::Broken("line_is_not_json");
            };
            wazuh(&json, &self.local).or_else(|| aminer(&json, &self.local))
        };
        let Some((ts, observation)) = observed else {
            return Decoded::Broken("alert_without_time_or_name");
        };
        records.emit(ts, None, EventBody::Observation(Box::new(observation)));
        Decoded::Used
    }

    fn keep(&self) -> Value {
        String::from_utf8_lossy(&self.header).into()
    }

    fn restore(&mut self, kept: &Value) {
        let header = kept.as_str().unwrap_or_default().as_bytes();
        if self.table && !header.is_empty() {
            self.line(header, &mut Records::default());
        }
    }
}

/// Adds the entity behind an address or host name, once.
fn add(about: &mut Vec<EntityId>, name: &str, local: &LocalNetworks) {
    let named = match name.parse::<IpAddr>() {
        Ok(addr) => entity(addr, local),
        Err(_) if name.is_empty() || name == "any" => return,
        Err(_) => EntityId::device(name),
    };
    if about.len() < ITEMS_MAX && !about.contains(&named) {
        about.push(named);
    }
}

/// Wazuh's level, 0 to 15, on the scale of observations.
fn severity(level: u64) -> u8 {
    match level {
        12.. => 1,
        8..12 => 2,
        4..8 => 3,
        _ => 4,
    }
}

fn wazuh(json: &Json<'_>, local: &LocalNetworks) -> Option<(Timestamp, Observation)> {
    let rule = json.get("rule");
    let level = rule.get("level").u64()?;
    let ts = time(json.get("timestamp")).or_else(|| time(json.get("@timestamp")))?;
    let mut about = Vec::new();
    let agent = json.get("agent");
    let host = if agent.get("ip").text().is_empty() {
        agent.get("name")
    } else {
        agent.get("ip")
    };
    add(&mut about, host.text(), local);
    for member in ["srcip", "dstip", "src_ip", "dest_ip"] {
        add(&mut about, json.at(&["data", member]).text(), local);
    }
    for member in ["srcuser", "dstuser"] {
        let user = json.at(&["data", member]).text();
        if !user.is_empty() && about.len() < ITEMS_MAX {
            about.push(EntityId::user(user));
        }
    }
    let techniques = rule.at(&["mitre", "id"]).list();
    let observation = Observation {
        source: "wazuh".into(),
        name: text(rule.get("description")),
        category: text(rule.get("groups").list().first().unwrap_or(&Json::Null)),
        severity: severity(level),
        detail: text(json.get("full_log")),
        about,
        techniques: techniques.iter().take(ITEMS_MAX).map(text).collect(),
        file: None,
    };
    Some((ts, observation))
}

fn aminer(json: &Json<'_>, local: &LocalNetworks) -> Option<(Timestamp, Observation)> {
    let component = json.get("AnalysisComponent");
    let data = json.get("LogData");
    let times = data
        .get("Timestamps")
        .list()
        .iter()
        .chain(data.get("DetectionTimestamp").list());
    let ts = times
        .chain([data.get("DetectionTimestamp")])
        .find_map(time)?;
    let name = match text(component.get("AnalysisComponentName")) {
        name if name.is_empty() => text(component.get("AnalysisComponentType")),
        name => name,
    };
    let mut about = Vec::new();
    add(&mut about, json.at(&["AMiner", "ID"]).text(), local);
    let observation = Observation {
        source: "aminer".into(),
        name,
        category: text(component.get("AnalysisComponentType")),
        severity: 0,
        detail: text(component.get("Message")),
        about,
        techniques: Vec::new(),
        file: None,
    };
    Some((ts, observation))
}

/// Where a table of alerts has what.
struct Columns {
    time: usize,
    name: usize,
    about: Vec<usize>,
    category: Option<usize>,
    severity: Option<usize>,
}

impl Columns {
    /// Reads a header; `None` when it is not that of a table of alerts.
    fn read(line: &[u8]) -> Option<Self> {
        let names: Vec<String> = cells(line)?
            .iter()
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        let find = |wanted: &[&str]| {
            names
                .iter()
                .position(|name| wanted.contains(&name.as_str()))
        };
        let about = [
            "ip",
            "host",
            "src_ip",
            "dst_ip",
            "source_ip",
            "dest_ip",
            "destination_ip",
        ];
        let about: Vec<usize> = (0..names.len())
            .filter(|at| {
                names
                    .get(*at)
                    .is_some_and(|name| about.contains(&name.as_str()))
            })
            .collect();
        let is_table = names.len() >= 3 && !about.is_empty();
        let columns = Self {
            time: find(&["time", "timestamp", "ts", "@timestamp", "date"])?,
            name: find(&["name", "alert", "signature", "rule", "message"])?,
            about,
            category: find(&["category", "type", "tool"]),
            severity: find(&["severity", "priority"]),
        };
        is_table.then_some(columns)
    }

    fn row(
        &self,
        line: &[u8],
        source: &str,
        local: &LocalNetworks,
    ) -> Option<(Timestamp, Observation)> {
        let cells = cells(line)?;
        let cell = |at: usize| cells.get(at).map_or("", String::as_str);
        let ts = time(&Json::Text(cell(self.time).into()))?;
        let name = cell(self.name);
        let mut about = Vec::new();
        // An address says more than a name; the name is used where there is none.
        let (addresses, hosts): (Vec<usize>, Vec<usize>) = self
            .about
            .iter()
            .copied()
            .partition(|at| cell(*at).parse::<IpAddr>().is_ok());
        for at in if addresses.is_empty() {
            hosts
        } else {
            addresses
        } {
            add(&mut about, cell(at), local);
        }
        // `Tool: what it says` is a common way to merge several tools' alerts.
        let (tool, name) = name.split_once(": ").unwrap_or((source, name));
        let observation = Observation {
            source: tool.into(),
            name: name.into(),
            category: self.category.map(&cell).unwrap_or_default().into(),
            severity: self
                .severity
                .and_then(|at| cell(at).parse().ok())
                .unwrap_or(0),
            about,
            ..Observation::default()
        };
        (!name.is_empty()).then_some((ts, observation))
    }
}

fn cells(line: &[u8]) -> Option<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(line);
    let record = reader.records().next()?.ok()?;
    Some(record.iter().map(str::to_owned).collect())
}
