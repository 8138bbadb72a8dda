//! `thymus query` as data.

use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;

const EXAMPLES: &str = "\
Examples:
  thymus query --tables                       what can be asked: tables, columns, functions
  thymus query \"SELECT ts, client_addr, query FROM dns WHERE query LIKE '%.top'\" --from 1h
  thymus query \"SELECT server_addr, count(DISTINCT client_addr) AS who, sum(client_bytes) AS sent
                FROM flows WHERE NOT ip_is_local(server_addr) GROUP BY 1 ORDER BY sent DESC\" --from 1d
  thymus query \"SELECT time_bucket('5m', ts) AS at, count(*) FROM logins
                WHERE outcome = 'failure' GROUP BY 1\" --csv > failures.csv
  thymus query \"SELECT client_addr, ja4, count(*) FROM tls WHERE cidr(client_addr, '10.20.0.0/16')
                GROUP BY 1, 2 HAVING count(*) = 1\" --json | jq .rows

SQL is SQLite's. Times are text in UTC: ts >= '2026-11-23T10:00', ts > ago('1h'). Narrowing the time, by
--from or by ts, makes a query fast; ORDER BY ts DESC LIMIT 100 looks at the last hour only.
The events lie in DIR/store/events/*/*.parquet, which other tools read too.

Exit codes: 0 answered, 2 an error or a part that could not be read.";

/// `thymus query`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each switch of the command line"
)]
pub struct QueryArgs {
    /// What to ask: one SELECT
    #[arg(value_name = "SQL", required_unless_present = "tables")]
    pub sql: Option<String>,
    /// The state folder
    #[arg(long, value_name = "DIR", required_unless_present = "tables")]
    pub state: Option<PathBuf>,
    /// Only events from then on: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 36h or 7d
    #[arg(long, value_name = "WHEN")]
    pub from: Option<String>,
    /// Only events before then
    #[arg(long, value_name = "WHEN")]
    pub to: Option<String>,
    /// Rows to give at most
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub limit: usize,
    /// Seconds it may take
    #[arg(long, value_name = "SECS", default_value_t = 60)]
    pub max_time: u64,
    /// A network of yours, for ip_is_local(); repeat for several [default: the private ones]
    #[arg(long, value_name = "NET")]
    pub local: Vec<IpNet>,
    /// Print one JSON object
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print comma-separated values
    #[arg(long)]
    pub csv: bool,
    /// Show the tables, their columns and the functions
    #[arg(long, conflicts_with_all = ["sql", "csv"])]
    pub tables: bool,
    /// Print to standard error how long it took and how many rows were looked at
    #[arg(long)]
    pub timings: bool,
}
