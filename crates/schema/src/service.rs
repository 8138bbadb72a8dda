//! Application protocols, recognised by content.

use serde::{Deserialize, Serialize};

macro_rules! services {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// An application protocol. Named as Zeek's `service` field names it where it has a name.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Service {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Service {
            /// All of them, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The lower-case name used in output.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The protocol with this name; `None` when unknown.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

services! {
    /// BACnet/IP.
    Bacnet = "bacnet",
    /// BitTorrent.
    BitTorrent = "bittorrent",
    /// DCE/RPC.
    DceRpc = "dce_rpc",
    /// DHCP.
    Dhcp = "dhcp",
    /// DNP3.
    Dnp3 = "dnp3",
    /// DNS.
    Dns = "dns",
    /// EtherNet/IP with CIP.
    Enip = "enip",
    /// FINS, of Omron's controllers.
    Fins = "fins",
    /// FTP control channel.
    Ftp = "ftp",
    /// FTP data channel.
    FtpData = "ftp-data",
    /// HTTP/1.
    Http = "http",
    /// HTTP/2 in the clear.
    Http2 = "http2",
    /// IEC 60870-5-104.
    Iec104 = "iec104",
    /// IMAP.
    Imap = "imap",
    /// IRC.
    Irc = "irc",
    /// Kerberos.
    Kerberos = "krb",
    /// LDAP.
    Ldap = "ldap",
    /// LLMNR.
    Llmnr = "llmnr",
    /// Multicast DNS.
    Mdns = "mdns",
    /// Modbus/TCP.
    Modbus = "modbus",
    /// MongoDB.
    Mongo = "mongodb",
    /// MQTT.
    Mqtt = "mqtt",
    /// Microsoft SQL Server (TDS).
    Mssql = "mssql",
    /// MySQL or MariaDB.
    Mysql = "mysql",
    /// NetBIOS name service.
    Nbns = "nbns",
    /// NTP.
    Ntp = "ntp",
    /// POP3.
    Pop3 = "pop3",
    /// PostgreSQL.
    Postgres = "postgresql",
    /// QUIC.
    Quic = "quic",
    /// Remote desktop.
    Rdp = "rdp",
    /// Redis.
    Redis = "redis",
    /// RTP media.
    Rtp = "rtp",
    /// S7 communication.
    S7 = "s7comm",
    /// SIP.
    Sip = "sip",
    /// SMB 1 to 3.
    Smb = "smb",
    /// SMTP.
    Smtp = "smtp",
    /// SNMP.
    Snmp = "snmp",
    /// SOCKS 4 or 5.
    Socks = "socks",
    /// SSDP.
    Ssdp = "ssdp",
    /// SSH.
    Ssh = "ssh",
    /// Stratum, the mining protocol.
    Stratum = "stratum",
    /// STUN.
    Stun = "stun",
    /// Syslog.
    Syslog = "syslog",
    /// Telnet.
    Telnet = "telnet",
    /// TFTP.
    Tftp = "tftp",
    /// TLS.
    Tls = "ssl",
    /// VNC.
    Vnc = "vnc",
    /// Windows remote management (HTTP to `/wsman`).
    Winrm = "winrm",
    /// WireGuard.
    Wireguard = "wireguard",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for service in Service::ALL {
            assert_eq!(Service::from_name(service.as_str()), Some(*service));
        }
        assert_eq!(Service::from_name("carrier-pigeon"), None);
    }
}
