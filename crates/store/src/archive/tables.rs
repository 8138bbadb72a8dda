// tidy: table
//! The tables of the archive and their columns: what a part file holds and what SQL sees.
//!
//! One part holds every kind of event. A column that only one kind has is named `KIND_COLUMN` there,
//! and the rows of one kind lie together, so a column that a kind does not have costs nothing.

use std::sync::LazyLock;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Real,
    /// 0 or 1.
    Boolean,
    /// A point in time; text in SQL.
    Time,
}

impl ColumnType {
    /// SQL's word for it.
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Integer | Self::Boolean => "INTEGER",
            Self::Real => "REAL",
            Self::Time => "TEXT COLLATE time",
        }
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in SQL.
    pub name: &'static str,
    /// What it holds.
    pub ty: ColumnType,
    /// What it means, in a few words.
    pub about: &'static str,
}

/// A table that SQL can name.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name in SQL.
    pub name: &'static str,
    /// The kind of event it holds; empty for all.
    pub kind: &'static str,
    /// What one row is.
    pub about: &'static str,
    /// The columns that only this kind has.
    pub columns: &'static [Column],
}

const fn text(name: &'static str, about: &'static str) -> Column {
    Column {
        name,
        ty: ColumnType::Text,
        about,
    }
}

const fn int(name: &'static str, about: &'static str) -> Column {
    Column {
        name,
        ty: ColumnType::Integer,
        about,
    }
}

const fn real(name: &'static str, about: &'static str) -> Column {
    Column {
        name,
        ty: ColumnType::Real,
        about,
    }
}

const fn flag(name: &'static str, about: &'static str) -> Column {
    Column {
        name,
        ty: ColumnType::Boolean,
        about,
    }
}

const fn time(name: &'static str, about: &'static str) -> Column {
    Column {
        name,
        ty: ColumnType::Time,
        about,
    }
}

const fn table(
    name: &'static str,
    kind: &'static str,
    about: &'static str,
    columns: &'static [Column],
) -> Table {
    Table {
        name,
        kind,
        about,
        columns,
    }
}

/// What every event has, in the order of the file.
pub const COMMON: &[Column] = &[
    text("id", "the event's id, as reports name it"),
    time("ts", "when it was complete, UTC"),
    text("kind", "the kind of event"),
    text("flow", "the conversation's id; joins the tables"),
    text("client_addr", "address of the side that began"),
    int("client_port", "its port"),
    text("server_addr", "address of the side that answered"),
    int("server_port", "its port"),
    text("transport", "tcp, udp, icmp, sctp or other"),
    int(
        "vlan",
        "the VLAN's number, or a digest of nested tags and tunnels",
    ),
    text("json", "the whole event"),
];

/// The tables, in alphabetical order.
pub const TABLES: &[Table] = &[
    table(
        "arp",
        "arp",
        "an ARP message",
        &[
            flag("reply", "whether it is a reply"),
            text("sender", "the sender's address"),
            text("sender_mac", "the sender's hardware address"),
            text("target", "the target's address"),
        ],
    ),
    table(
        "dce_rpc",
        "dce_rpc",
        "a DCE/RPC call",
        &[
            text("interface", "interface, such as svcctl"),
            text("operation", "operation, such as CreateServiceW"),
            text("pipe", "the named pipe it came through"),
            text("outcome", "success, failure or unknown"),
        ],
    ),
    table(
        "dhcp",
        "dhcp",
        "a DHCP message",
        &[
            text("message", "discover, offer, request, ack, ..."),
            text("mac", "the client's hardware address"),
            text("hostname", "the client's host name"),
            text("vendor", "the vendor class"),
            text("assigned", "the address given"),
            text("server", "the server's identifier"),
        ],
    ),
    table(
        "dns",
        "dns",
        "a name query with its answer",
        &[
            text("flavor", "dns, mdns, llmnr or nbns"),
            text("query", "the name asked for"),
            int("qtype", "query type number: 1 A, 16 TXT, 28 AAAA"),
            int(
                "rcode",
                "response code, 3 no such name; NULL without an answer",
            ),
            text("answers", "what was answered, a JSON list"),
            int("answers_count", "how many records were answered"),
            int("query_bytes", "size of the query"),
            int("response_bytes", "size of the answer"),
        ],
    ),
    table("events", "", "an event of any kind", &[]),
    table(
        "files",
        "file_seen",
        "a file moved over the network",
        &[
            text("name", "file name"),
            text("sha256", "SHA-256; NULL when it was not whole"),
            int("bytes", "bytes seen"),
            text("magic", "type by content"),
            text("content_type", "declared MIME type"),
            text("service", "the protocol that carried it"),
            flag("upload", "whether the client sent it"),
            flag("complete", "whether every byte was seen"),
        ],
    ),
    table(
        "flows",
        "flow",
        "a conversation, or a part of a long one",
        &[
            time("start", "the first packet's time"),
            real(
                "duration",
                "seconds from the first packet to the last so far",
            ),
            int(
                "client_bytes",
                "payload bytes from the client, since the part before",
            ),
            int(
                "server_bytes",
                "payload bytes from the server, since the part before",
            ),
            int(
                "client_packets",
                "packets from the client, since the part before",
            ),
            int(
                "server_packets",
                "packets from the server, since the part before",
            ),
            text("state", "how it went, in Zeek's terms: SF, S0, REJ, ..."),
            text("service", "application protocol by content"),
            text("client_mac", "the client's hardware address"),
            text("server_mac", "the server's hardware address"),
            int("part", "0 for the first record of a conversation"),
            flag("last", "whether it is over"),
        ],
    ),
    table(
        "http",
        "http",
        "an HTTP request with its response",
        &[
            text("method", "method"),
            text("host", "host asked for"),
            text("uri", "path and query"),
            int("status", "response status; NULL without a response"),
            text("user_agent", "user agent"),
            text("referrer", "referrer"),
            int("request_bytes", "request body bytes"),
            int("response_bytes", "response body bytes"),
            text("content_type", "the response's declared type"),
            text("magic", "the response's type by content"),
            text("file_name", "file name"),
            text("user", "user name of basic or digest authentication"),
            flag("proxied", "whether the request went to a proxy"),
        ],
    ),
    table(
        "ics",
        "ics",
        "a request to an industrial controller",
        &[
            text("protocol", "modbus, dnp3, s7, ..."),
            int("unit", "unit, outstation or rack and slot"),
            int("function", "function code"),
            text("name", "function name"),
            flag("write", "whether it changes the process or the controller"),
            int("address", "first register, coil or object"),
            int("quantity", "how many"),
            int("exception", "exception code of the response"),
        ],
    ),
    table(
        "kerberos",
        "kerberos",
        "a Kerberos exchange",
        &[
            text("request", "as, tgs or ap"),
            text("client", "the client principal"),
            text("realm", "the realm"),
            text("service", "the service principal"),
            int("error", "error code of the reply"),
            text("outcome", "success, failure or unknown"),
            int(
                "ticket_etype",
                "encryption of the ticket: 17, 18 AES; 23 RC4",
            ),
            flag("preauth", "whether it carried pre-authentication data"),
        ],
    ),
    table(
        "ldap",
        "ldap",
        "an LDAP operation",
        &[
            text("operation", "bind, search, modify, ..."),
            text("name", "the name it is about"),
            text("filter", "the search filter"),
            int("result", "result code"),
            int("entries", "entries returned"),
        ],
    ),
    table(
        "logins",
        "login",
        "an attempt to log in",
        &[
            text("service", "over which protocol"),
            text("user", "the account"),
            text("domain", "its domain or realm"),
            text("outcome", "success, failure or unknown"),
            text("method", "password, ntlm, kerberos, basic, form, key, ..."),
            text("client", "client software or workstation"),
            int("attempts", "how many attempts this row stands for"),
        ],
    ),
    table(
        "mail",
        "mail",
        "a mail handed over by SMTP",
        &[
            text("helo", "name given in HELO or EHLO"),
            text("sender", "envelope sender"),
            text("recipients", "envelope recipients, a JSON list"),
            int("recipients_count", "how many recipients"),
            text("subject", "subject"),
            text("header_from", "From header"),
            int("bytes", "message bytes seen"),
            flag("tls", "whether the session went over to TLS"),
            int("status", "the server's last answer code"),
        ],
    ),
    table(
        "ndp",
        "ndp",
        "an IPv6 neighbour discovery message",
        &[
            int("message", "ICMPv6 type, 133 to 137"),
            text("sender", "who sent it"),
            text("target", "the target address"),
            text("mac", "link-layer address"),
        ],
    ),
    table(
        "ntlm",
        "ntlm",
        "an NTLM authentication",
        &[
            text("user", "the account"),
            text("domain", "its domain"),
            text("workstation", "the client's workstation name"),
            text("server_name", "the server's own name"),
            text("outcome", "success, failure or unknown"),
            text("carrier", "the protocol that carried it"),
            flag("version1", "whether the answer was NTLM version 1"),
        ],
    ),
    table(
        "observations",
        "observation",
        "another tool's alert, or an indicator that matched",
        &[
            text("source", "who says so"),
            text("name", "its name or signature"),
            text("category", "its category"),
            int("severity", "severity on its own scale, 1 the highest"),
            text("detail", "the indicator or message"),
            text("techniques", "ATT&CK techniques it names, a JSON list"),
        ],
    ),
    table(
        "operations",
        "operation",
        "an operation of a protocol that has no table",
        &[
            text("service", "the protocol"),
            text("verb", "what was asked"),
            text("object", "on what"),
            text("detail", "anything else"),
            int("request_bytes", "size of the request"),
            int("response_bytes", "size of the response"),
            text("outcome", "success, failure or unknown"),
        ],
    ),
    table(
        "quirks",
        "quirk",
        "something malformed",
        &[
            text("parser", "which parser met it"),
            text("quirk", "what was odd"),
        ],
    ),
    table(
        "rdp",
        "rdp",
        "the start of a remote desktop session",
        &[
            text("cookie", "usually the user name"),
            text("client_name", "the client's computer name"),
            text("security", "rdp, tls, credssp, ..."),
            text("outcome", "success, failure or unknown"),
        ],
    ),
    table(
        "smb",
        "smb",
        "an operation on a file share",
        &[
            text("action", "tree_connect, open, create, read, write, ..."),
            text("share", "the share"),
            text("path", "the path inside it"),
            text("new_path", "the new path of a rename"),
            int("bytes", "bytes read or written"),
            int("status", "NT status; 0 success, NULL without a response"),
            text("user", "the session's user"),
            int("dialect", "dialect: 256 SMB 1, 785 SMB 3.1.1"),
        ],
    ),
    table(
        "ssh",
        "ssh",
        "the start of an SSH session",
        &[
            text("client", "the client's software"),
            text("server", "the server's software"),
            text("hassh", "HASSH of the client"),
            text("hassh_server", "HASSH of the server"),
        ],
    ),
    table(
        "tls",
        "tls",
        "a TLS or QUIC handshake",
        &[
            text("sni", "server name"),
            text("alpn", "first protocol offered"),
            int("version", "version, 771 TLS 1.2, 772 TLS 1.3"),
            int("cipher", "the cipher chosen"),
            text("ja3", "JA3 of the client"),
            text("ja4", "JA4 of the client"),
            text("subject", "the certificate's subject"),
            text("issuer", "the certificate's issuer"),
            time("not_before", "start of its validity"),
            time("not_after", "end of its validity"),
            text("names", "its other names, a JSON list"),
            text("cert_sha256", "its SHA-256"),
            flag("self_signed", "whether subject and issuer are the same"),
            flag("quic", "whether it came over QUIC"),
            flag("established", "whether the handshake was accepted"),
            flag("resumed", "whether an old session was resumed"),
        ],
    ),
    table(
        "traffic",
        "traffic",
        "packet statistics of one address over a few seconds",
        &[
            text("addr", "the address"),
            real("secs", "length of the window"),
            int("packets_out", "packets sent"),
            int("packets_in", "packets received"),
            int("bytes_out", "IP bytes sent"),
            int("bytes_in", "IP bytes received"),
            int("peers", "distinct peers, estimated"),
            int("ports_out", "distinct destination ports, estimated"),
            int("syn_out", "SYN without ACK sent"),
            int("syn_in", "SYN without ACK received"),
            int("rst", "RST, both ways"),
        ],
    ),
];

/// A column of the file.
#[derive(Debug)]
pub(crate) struct Physical {
    /// Its name in the file.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) ty: ColumnType,
    /// The only kind that has it; `None` for all.
    pub(crate) kind: Option<&'static str>,
}

/// The columns of the file, in their order.
pub(crate) static PHYSICAL: LazyLock<Vec<Physical>> = LazyLock::new(|| {
    let common = COMMON.iter().map(|column| Physical {
        name: column.name.to_owned(),
        ty: column.ty,
        kind: None,
    });
    let own = TABLES.iter().flat_map(|table| {
        table.columns.iter().map(|column| Physical {
            name: format!("{}_{}", table.kind, column.name),
            ty: column.ty,
            kind: Some(table.kind),
        })
    });
    common.chain(own).collect()
});

impl Table {
    /// Where its own columns begin in the file.
    pub(crate) fn first_own(&self) -> usize {
        COMMON.len()
            + TABLES
                .iter()
                .take_while(|table| table.name != self.name)
                .map(|table| table.columns.len())
                .sum::<usize>()
    }

    /// The table of a kind of event.
    pub(crate) fn of_kind(kind: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.kind == kind)
    }
}

/// Indexes into [`COMMON`].
pub(crate) mod common {
    pub(crate) const TS: usize = 1;
    pub(crate) const KIND: usize = 2;
    pub(crate) const JSON: usize = 10;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_tables_sorted() {
        let names: BTreeSet<&str> = PHYSICAL.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names.len(), PHYSICAL.len());
        assert!(TABLES.is_sorted_by_key(|table| table.name));
        assert_eq!(COMMON[common::TS].name, "ts");
        assert_eq!(COMMON[common::KIND].name, "kind");
        assert_eq!(COMMON[common::JSON].name, "json");
    }
}
