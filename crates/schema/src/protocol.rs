//! What protocols said. Text fields are the wire's words, lossily decoded and bounded by `parsers`;
//! an empty string means the message had none.
//
// tidy: table

use std::fmt;
use std::net::IpAddr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use smallvec::SmallVec;

use crate::{EntityId, Mac, Service, Timestamp};

/// How something ended, as far as the traffic shows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It worked.
    Success,
    /// It was refused.
    Failure,
    /// The traffic does not say.
    #[default]
    Unknown,
}

/// An ARP message (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArpMessage {
    /// Whether it is a reply (a gratuitous announcement counts as what its opcode says).
    #[serde(default)]
    pub reply: bool,
    /// The sender's hardware address inside the message.
    pub sender_mac: Mac,
    /// The sender's address.
    pub sender: IpAddr,
    /// The target's hardware address inside the message.
    #[serde(default)]
    pub target_mac: Mac,
    /// The target's address.
    pub target: IpAddr,
    /// The Ethernet frame's own source, which a forger may forget.
    #[serde(default)]
    pub frame_mac: Mac,
}

/// An IPv6 neighbour discovery message (RFC 4861).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NdpMessage {
    /// ICMPv6 type: 133 router solicitation to 137 redirect.
    pub message: u8,
    /// Who sent it.
    pub sender: IpAddr,
    /// The target address (the router itself for an advertisement).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<IpAddr>,
    /// The link-layer address option, else the frame's source.
    pub mac: Mac,
}

/// A DHCP message (RFC 2131, RFC 8415).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DhcpMessage {
    /// Lower-case message name: `discover`, `offer`, `request`, `ack`, …
    pub message: Box<str>,
    /// The client's hardware address.
    pub mac: Mac,
    /// The client identifier, in hex.
    pub client_id: Box<str>,
    /// The client's host name.
    pub hostname: Box<str>,
    /// The vendor class.
    pub vendor: Box<str>,
    /// The address asked for.
    pub requested: Option<IpAddr>,
    /// The address given.
    pub assigned: Option<IpAddr>,
    /// The server's identifier.
    pub server: Option<IpAddr>,
    /// Routers handed out.
    pub routers: Vec<IpAddr>,
    /// Name servers handed out.
    pub name_servers: Vec<IpAddr>,
    /// Lease time in seconds; 0 when absent.
    pub lease_secs: u32,
}

/// Which name protocol.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum DnsFlavor {
    /// Unicast DNS (RFC 1035).
    #[default]
    Dns,
    /// Multicast DNS (RFC 6762).
    Mdns,
    /// Link-local multicast name resolution (RFC 4795).
    Llmnr,
    /// NetBIOS name service (RFC 1002).
    Nbns,
}

/// A resource record in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AnswerAsText")]
pub struct DnsAnswer {
    /// Record type number.
    pub rtype: u16,
    /// An address, a name, or the text record's text.
    pub data: DnsData,
    /// Time to live in seconds.
    pub ttl: u32,
}

impl DnsAnswer {
    /// A record whose data is known as text.
    pub fn of_text(rtype: u16, text: CompactString, ttl: u32) -> Self {
        // IPv4, IPv6, and the addresses of a NetBIOS name.
        let holds_address = matches!(rtype, 1 | 28 | 32);
        let addr = holds_address.then(|| text.parse().ok()).flatten();
        Self {
            rtype,
            data: addr.map_or(DnsData::Text(text), DnsData::Address),
            ttl,
        }
    }

    /// The address it gives, when it is an address record.
    pub const fn addr(&self) -> Option<IpAddr> {
        match self.data {
            DnsData::Address(addr) => Some(addr),
            DnsData::Text(_) => None,
        }
    }

    /// The data of a record that is no address record, else empty.
    pub fn text(&self) -> &str {
        match &self.data {
            DnsData::Address(_) => "",
            DnsData::Text(text) => text,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AnswerAsText {
    rtype: u16,
    data: CompactString,
    ttl: u32,
}

impl From<AnswerAsText> for DnsAnswer {
    fn from(answer: AnswerAsText) -> Self {
        Self::of_text(answer.rtype, answer.data, answer.ttl)
    }
}

/// The data of a resource record; text in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum DnsData {
    /// Of an address record.
    Address(IpAddr),
    /// Of any other.
    Text(CompactString),
}

impl fmt::Display for DnsData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => addr.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Default for DnsData {
    fn default() -> Self {
        Self::Text(CompactString::default())
    }
}

/// A name query with its answer, when one came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsTransaction {
    /// Which protocol.
    pub flavor: DnsFlavor,
    /// The name asked for, lower case, without the final dot; raw bytes escaped as `\ddd`.
    pub query: CompactString,
    /// Query type number.
    pub qtype: u16,
    /// Response code; `None` when no answer was seen.
    pub rcode: Option<u8>,
    /// Answer records, at most 32.
    pub answers: SmallVec<[DnsAnswer; 2]>,
    /// Size of the query message in bytes; 0 when unknown.
    pub query_len: u16,
    /// Size of the response message in bytes; 0 when unknown.
    pub response_len: u32,
    /// Whether it was carried by TCP.
    pub tcp: bool,
    /// Who answered, when it is not the server of the conversation (LLMNR, mDNS).
    pub responder: Option<IpAddr>,
}

/// The leaf certificate of a TLS server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// Subject distinguished name.
    pub subject: Box<str>,
    /// Issuer distinguished name.
    pub issuer: Box<str>,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// Names in the subject alternative name, at most 32.
    pub names: Vec<Box<str>>,
    /// Whether subject and issuer are the same.
    pub self_signed: bool,
    /// SHA-256 of the encoded certificate, hex; empty when the log has another digest or none.
    pub sha256: Box<str>,
    /// How many certificates the server sent.
    pub chain_len: u8,
}

/// A TLS or QUIC handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsHandshake {
    /// Whether it came over QUIC.
    pub quic: bool,
    /// The negotiated version, e.g. 0x0303; 0 when no server hello was seen.
    pub version: u16,
    /// Server name indication.
    pub sni: Box<str>,
    /// The first protocol offered by the client (ALPN).
    pub alpn: Box<str>,
    /// JA3 digest of the client hello, hex.
    pub ja3: Box<str>,
    /// JA4 of the client hello.
    pub ja4: Box<str>,
    /// The cipher the server chose; 0 when unknown.
    pub cipher: u16,
    /// The server's certificate; encrypted and so absent in TLS 1.3.
    pub certificate: Option<Box<Certificate>>,
    /// Whether application data flowed both ways (the handshake was accepted).
    pub established: bool,
    /// Whether an old session was resumed.
    pub resumed: bool,
}

/// An HTTP/1 request with its response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpTransaction {
    /// Method.
    pub method: Box<str>,
    /// Host header, or the authority of a proxied request, with its port if given.
    pub host: Box<str>,
    /// Path and query, at most 1,024 bytes.
    pub uri: Box<str>,
    /// User agent.
    pub user_agent: Box<str>,
    /// Referrer.
    pub referrer: Box<str>,
    /// Response status; 0 when no response was seen.
    pub status: u16,
    /// Request body bytes.
    pub request_len: u64,
    /// Response body bytes.
    pub response_len: u64,
    /// The response's declared content type.
    pub content_type: Box<str>,
    /// The response's type by its first bytes: `pe`, `elf`, `macho`, `zip`, `pdf`, `html`, `script`,
    /// `image`, …; `pe_masked` and `pe_text` for a Windows program behind a repeated key or written as
    /// text; empty when not recognised.
    pub magic: Box<str>,
    /// What the response's first bytes are made of: `text`, `base64`, `binary`, or `random` when they
    /// look encrypted or packed; empty when unknown.
    pub shape: Box<str>,
    /// The type of the request body by its first bytes.
    pub request_magic: Box<str>,
    /// What the request's first bytes are made of, as `shape`.
    pub request_shape: Box<str>,
    /// Names of the request's header fields in their order, lower case, with commas between, at most
    /// 200 bytes; empty when unknown.
    pub headers: Box<str>,
    /// File name from content-disposition or the last path segment.
    pub file_name: Box<str>,
    /// Whether the request went to a proxy (absolute form or CONNECT).
    pub proxied: bool,
    /// User name of basic or digest authentication.
    pub user: Box<str>,
}

/// An attempt to log in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Login {
    /// Over which protocol.
    pub service: Option<Service>,
    /// The account; empty when it cannot be seen.
    pub user: Box<str>,
    /// Its domain or realm.
    pub domain: Box<str>,
    /// How it ended.
    pub outcome: Outcome,
    /// How the account was proved: `password`, `ntlm`, `kerberos`, `basic`, `form`, `key`, …
    pub method: Box<str>,
    /// The client software or workstation name.
    pub client: Box<str>,
    /// How many attempts this event stands for (SSH shows tries only in sum); at least 1.
    pub attempts: u32,
}

/// What was done on a share.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum SmbAction {
    /// A share was entered.
    TreeConnect,
    /// A file, folder or pipe was opened.
    #[default]
    Open,
    /// A file was created or overwritten by opening it.
    Create,
    /// Bytes were read (summed until the file is closed).
    Read,
    /// Bytes were written (summed until the file is closed).
    Write,
    /// A file was renamed.
    Rename,
    /// A file was deleted.
    Delete,
    /// A folder was listed.
    List,
    /// Dialect and capabilities were agreed.
    Negotiate,
}

/// An operation on a file share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SmbOperation {
    /// What.
    pub action: SmbAction,
    /// Dialect: 0x0100 for SMB 1, else as SMB 2 numbers them (0x0202, 0x0210, 0x0300, 0x0311).
    pub dialect: u16,
    /// The share, `\\server\share` or `share`.
    pub share: Box<str>,
    /// The path inside the share.
    pub path: Box<str>,
    /// The new path of a rename.
    pub new_path: Box<str>,
    /// Bytes read or written.
    pub bytes: u64,
    /// NT status of the response; 0 is success, `0xffff_ffff` that no response was seen.
    pub status: u32,
    /// The session's user, when known.
    pub user: Box<str>,
}

/// A DCE/RPC call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DceRpcCall {
    /// Interface name (`svcctl`, `drsuapi`, …), or its UUID when unknown.
    pub interface: Box<str>,
    /// Operation name (`CreateServiceW`, …), or `op N` when unknown.
    pub operation: Box<str>,
    /// Operation number.
    pub opnum: u16,
    /// The named pipe it came through; empty over TCP.
    pub pipe: Box<str>,
    /// How it ended.
    pub outcome: Outcome,
}

/// Which Kerberos request.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum KerberosRequest {
    /// A ticket-granting ticket was asked for.
    #[default]
    As,
    /// A service ticket was asked for.
    Tgs,
    /// A ticket was used.
    Ap,
}

/// A Kerberos request with its reply (RFC 4120).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KerberosExchange {
    /// Which request.
    pub request: KerberosRequest,
    /// The client principal.
    pub client: Box<str>,
    /// The realm.
    pub realm: Box<str>,
    /// The service principal.
    pub service: Box<str>,
    /// Error code of the reply; `None` when it succeeded or no reply was seen.
    pub error: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
    /// Encryption type of the ticket that was given; 0 when none (17, 18 AES; 23 RC4).
    pub ticket_etype: i32,
    /// Encryption types the client offered.
    pub offered_etypes: Vec<i32>,
    /// Whether the request carried pre-authentication data.
    pub preauth: bool,
}

/// An NTLM authentication (MS-NLMP).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NtlmAuth {
    /// The account.
    pub user: Box<str>,
    /// Its domain.
    pub domain: Box<str>,
    /// The client's workstation name.
    pub workstation: Box<str>,
    /// The server's own name from the challenge.
    pub server_name: Box<str>,
    /// How it ended.
    pub outcome: Outcome,
    /// The protocol that carried it.
    pub carrier: Option<Service>,
    /// Whether the answer was NTLM version 1.
    pub version1: bool,
}

/// An LDAP operation (RFC 4511).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LdapCall {
    /// `bind`, `search`, `modify`, `add`, `delete`, `rename`, `compare`, `extended`.
    pub operation: Box<str>,
    /// The name it is about (bind name, search base, entry).
    pub name: Box<str>,
    /// The search filter as text, at most 512 bytes.
    pub filter: Box<str>,
    /// Attributes asked for or changed, at most 32.
    pub attributes: Vec<Box<str>>,
    /// Result code; `None` when no result was seen.
    pub result: Option<u32>,
    /// Entries returned.
    pub entries: u32,
}

/// The start of a remote desktop session (MS-RDPBCGR).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RdpHello {
    /// The `mstshash` cookie, usually the user name.
    pub cookie: Box<str>,
    /// The client's computer name.
    pub client_name: Box<str>,
    /// The security protocol agreed: `rdp`, `tls`, `credssp`, …
    pub security: Box<str>,
    /// How the log-in ended, where it can be seen.
    pub outcome: Outcome,
}

/// The start of an SSH session (RFC 4253).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SshHello {
    /// The client's software.
    pub client: Box<str>,
    /// The server's software.
    pub server: Box<str>,
    /// HASSH of the client, hex.
    pub hassh: Box<str>,
    /// HASSH of the server, hex.
    pub hassh_server: Box<str>,
}

/// A mail handed over by SMTP (RFC 5321).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MailEnvelope {
    /// Name given in HELO or EHLO.
    pub helo: Box<str>,
    /// Envelope sender.
    pub from: Box<str>,
    /// Envelope recipients, at most 32.
    pub to: Vec<Box<str>>,
    /// How many recipients there were.
    pub recipients: u32,
    /// Subject header.
    pub subject: Box<str>,
    /// From header.
    pub header_from: Box<str>,
    /// Message bytes seen.
    pub bytes: u64,
    /// Whether the session went over to TLS.
    pub tls: bool,
    /// The server's last answer code; 0 when not seen.
    pub status: u16,
}

/// A request to an industrial controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IcsCall {
    /// Modbus, DNP3 or S7.
    pub protocol: Option<Service>,
    /// Unit, outstation or rack and slot.
    pub unit: u16,
    /// Function code.
    pub function: u16,
    /// Function name as the specification has it, snake case.
    pub name: Box<str>,
    /// Whether it changes the process or the controller.
    pub write: bool,
    /// First register, coil or object.
    pub address: u32,
    /// How many.
    pub quantity: u32,
    /// Exception code of the response; `None` when it succeeded or none was seen.
    pub exception: Option<u8>,
}

/// An operation of a protocol that has no event of its own: SOCKS, MQTT, SNMP, NTP, TFTP, Stratum,
/// FTP commands, telnet, database statements that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Operation {
    /// The protocol.
    pub service: Option<Service>,
    /// What was asked: `connect`, `publish`, `get`, `monlist`, `subscribe`, `retr`, …
    pub verb: Box<str>,
    /// On what: destination, topic, object, file, worker name.
    pub object: Box<str>,
    /// Anything else worth keeping, bounded.
    pub detail: Box<str>,
    /// Request and response sizes in bytes, for amplification.
    pub request_len: u64,
    /// Response bytes.
    pub response_len: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// A file moved over the network. No verdict: that is an [`Observation`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileSeen {
    /// SHA-256, hex; empty when the file was not whole.
    pub sha256: Box<str>,
    /// Bytes seen.
    pub bytes: u64,
    /// Type by content.
    pub magic: Box<str>,
    /// Declared MIME type.
    pub content_type: Box<str>,
    /// File name.
    pub name: Box<str>,
    /// The protocol that carried it.
    pub service: Option<Service>,
    /// Whether the client sent it (an upload).
    pub upload: bool,
    /// Whether every byte was seen.
    pub complete: bool,
    /// Why it is not whole: `incomplete`, `too large`, `no room`; empty when it is, or when nobody says.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: Box<str>,
}

/// What the file engine made of a file, as far as people ask for it first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileVerdict {
    /// The file's name.
    pub name: Box<str>,
    /// SHA-256 of the file, hex.
    pub sha256: Box<str>,
    /// Its bytes.
    pub bytes: u64,
    /// `malicious` or `suspicious`.
    pub outcome: Box<str>,
    /// What was judged: its type.
    pub kind: Box<str>,
    /// Where in the file that lies; empty for the file itself.
    pub member: Box<str>,
    /// The bytes that decided, most telling first: `bytes 0x40 to 0x9f`; empty when nobody knows.
    pub decided: Box<str>,
    /// One in so many harmless files looks as bad; 0 when not known.
    pub one_in: u64,
    /// The protocol that carried it.
    pub service: Option<Service>,
    /// Whether the client sent it.
    pub upload: bool,
}

/// Another tool's alert, or a hit on the user's own indicator list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observation {
    /// Who says so: `suricata`, `zeek notice`, `wazuh`, the list's file name, …
    pub source: Box<str>,
    /// Its name or signature.
    pub name: Box<str>,
    /// Its category.
    pub category: Box<str>,
    /// Severity on its own scale, 1 = highest; 0 when not given.
    pub severity: u8,
    /// The indicator or message that matched.
    pub detail: Box<str>,
    /// Whom it is about, when it is not a conversation.
    pub about: Vec<EntityId>,
    /// ATT&CK technique ids it names.
    pub techniques: Vec<Box<str>>,
    /// The file it is about, when our own file engine says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Box<FileVerdict>>,
}

impl Observation {
    /// The source of verdicts of our own file engine. They are evidence like any other tool's.
    pub const FILE_ENGINE: &'static str = "thymus files";
}

/// Something malformed that a parser met. Data, not an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuirkSeen {
    /// The parser.
    pub parser: Box<str>,
    /// What was odd, snake case.
    pub quirk: Box<str>,
}
