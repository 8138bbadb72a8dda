//! Against tcpdump: the same packets pass, of real captures and of odd ones made by hand.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// Runs a program as the kernel does; `taken` is the tag that was taken out of the packet.
fn passes(program: &[BpfInsn], packet: &[u8], taken: Option<u16>) -> bool {
    let load = |at: u32, size: usize| -> Option<u32> {
        match at.wrapping_sub(0xffff_f000) {
            44 => return Some(taken.unwrap_or_default().into()),
            48 => return Some(taken.is_some().into()),
            _ => {}
        }
        let bytes = packet.get(at as usize..at as usize + size)?;
        Some(
            bytes
                .iter()
                .fold(0, |all, byte| all << 8 | u32::from(*byte)),
        )
    };
    let (mut a, mut x, mut at) = (0_u32, 0_u32, 0_usize);
    let mut memory = [0_u32; 16];
    for _ in 0..program.len() {
        let BpfInsn { code, jt, jf, k } = program[at];
        at += 1;
        let loaded = match code {
            0x20 => load(k, 4),
            0x28 => load(k, 2),
            0x30 => load(k, 1),
            0x40 => load(x + k, 4),
            0x48 => load(x + k, 2),
            0x50 => load(x + k, 1),
            _ => Some(a),
        };
        let Some(loaded) = loaded else {
            return false;
        };
        a = loaded;
        let jump = |is: bool| usize::from(if is { jt } else { jf });
        match code {
            0x20 | 0x28 | 0x30 | 0x40 | 0x48 | 0x50 => {}
            0x00 => a = k,
            0x60 => a = memory[k as usize],
            0x80 => a = packet.len() as u32,
            0x61 => x = memory[k as usize],
            0x02 => memory[k as usize] = a,
            0x04 => a = a.wrapping_add(k),
            0x0c => a = a.wrapping_add(x),
            0x54 => a &= k,
            0x64 => a <<= k,
            0x07 => x = a,
            0x05 => at += k as usize,
            0x15 => at += jump(a == k),
            0x25 => at += jump(a > k),
            0x35 => at += jump(a >= k),
            0x3d => at += jump(a >= x),
            0x45 => at += jump(a & k != 0),
            0x06 => return k > 0,
            other => panic!("instruction {other:#x}"),
        }
    }
    panic!("it does not end");
}

fn program(text: &str, link_type: u32) -> Vec<BpfInsn> {
    let filter: Filter = text
        .parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    let program = filter.program(link_type).unwrap();
    program.into_instructions()
}

/// Which of these packets tcpdump lets through.
fn by_tcpdump(text: &str, packets: &[Vec<u8>], link_type: u32) -> Vec<usize> {
    let mut file = tempfile::tempfile().unwrap();
    let mut capture = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 0x4_0000, link_type] {
        capture.extend_from_slice(&word.to_le_bytes());
    }
    for (at, packet) in packets.iter().enumerate() {
        for word in [at as u32, 0, packet.len() as u32, packet.len() as u32] {
            capture.extend_from_slice(&word.to_le_bytes());
        }
        capture.extend_from_slice(packet);
    }
    file.write_all(&capture).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let output = Command::new("tcpdump")
        .args(["-nn", "-r", "-", "-w", "-", text])
        .stdin(Stdio::from(file))
        .output()
        .expect("tcpdump is needed to compare filters with");
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("expression rejects all packets") {
        return Vec::new();
    }
    assert!(output.status.success(), "{text}: {said}");
    let word = |at: usize| u32::from_le_bytes(output.stdout[at..at + 4].try_into().unwrap());
    let (mut passed, mut at) = (Vec::new(), 24);
    while at < output.stdout.len() {
        passed.push(word(at) as usize);
        at += 16 + word(at + 8) as usize;
    }
    passed
}

fn compare(text: &str, theirs: &str, packets: &[Vec<u8>], link_type: u32) -> usize {
    let program = program(text, link_type);
    let ours: Vec<usize> = (0..packets.len())
        .filter(|at| passes(&program, &packets[*at], None))
        .collect();
    assert_eq!(ours, by_tcpdump(theirs, packets, link_type), "{text}");
    ours.len()
}

/// Some packets of each capture of the lab.
fn lab() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/captures");
    let mut packets = Vec::new();
    for name in ["office-day", "scan-bruteforce", "smb-ransom", "dns-tunnel"] {
        let file = File::open(folder.join(format!("{name}.pcap.gz"))).unwrap();
        let mut all = Vec::new();
        flate2::read::GzDecoder::new(file)
            .read_to_end(&mut all)
            .unwrap();
        let mut at = 24;
        while at < all.len() && packets.len() % 700 < 699 {
            let len = u32::from_le_bytes(all[at + 8..at + 12].try_into().unwrap()) as usize;
            packets.push(all[at + 16..at + 16 + len].to_vec());
            at += 16 + len;
        }
        packets.push(vec![0; 60]);
    }
    packets
}

const MACS: [u8; 12] = [0x00, 0x1b, 0x44, 0x11, 0x3a, 0xb7, 0x02, 0, 0, 0, 0, 0x09];

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&MACS[..], &ether_type.to_be_bytes(), payload].concat()
}

fn ip4(protocol: u8, fragment: u16, options: usize, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 20 + 4 * options];
    header[0] = 0x45 + options as u8;
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[9] = protocol;
    header[12..20].copy_from_slice(&[10, 1, 2, 3, 192, 168, 7, 9]);
    header.extend_from_slice(payload);
    header
}

fn ip6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 40];
    header[0] = 0x60;
    header[6] = next;
    header[8..10].copy_from_slice(&[0xfd, 0x01]);
    header[23] = 1;
    header[24..26].copy_from_slice(&[0xfe, 0x80]);
    header[39] = 2;
    header.extend_from_slice(payload);
    header
}

fn segment(from: u16, to: u16) -> Vec<u8> {
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.resize(24, 0);
    bytes
}

/// IP packets of every shape that a filter tells apart.
fn odd_ip() -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    for protocol in [1, 2, 6, 17, 47, 50, 51, 58, 103, 112, 132] {
        for (from, to) in [(40_000, 80), (53, 5_353), (443, 443)] {
            let ports = segment(from, to);
            all.push((IP, ip4(protocol, 0, 0, &ports)));
            all.push((IP, ip4(protocol, 0x2000, 3, &ports)));
            all.push((IP, ip4(protocol, 0x0010, 0, &ports)));
            all.push((IP6, ip6(protocol, &ports)));
            let piece = [&[protocol, 0, 0, 1, 0, 0, 0, 7], &ports[..]].concat();
            all.push((IP6, ip6(44, &piece)));
        }
    }
    all
}

fn odd() -> Vec<Vec<u8>> {
    let ip = odd_ip();
    let mut all: Vec<Vec<u8>> = ip
        .iter()
        .map(|(kind, bytes)| ethernet(*kind, bytes))
        .collect();
    let mut arp = vec![0; 46];
    arp[14..18].copy_from_slice(&[10, 1, 2, 3]);
    arp[24..28].copy_from_slice(&[10, 1, 2, 4]);
    all.extend([ARP, RARP].map(|kind| ethernet(kind, &arp)));
    all.push(ethernet(0x88cc, &[7; 50]));
    all.push(ethernet(0x0026, &[7; 50]));
    let mut broadcast = ethernet(ARP, &arp);
    broadcast[..6].fill(0xff);
    all.push(broadcast);
    let mut group = all[0].clone();
    group[0] = 1;
    all.push(group);
    all
}

/// Terms that tcpdump understands too, with values from the packets above and others.
const TERMS: &[&str] = &[
    "ip",
    "ip6",
    "arp",
    "rarp",
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "igmp",
    "esp",
    "ah",
    "pim",
    "vrrp",
    "proto 47",
    "ip proto 17",
    "ip6 proto 58",
    "ip proto \\tcp",
    "ip6 proto 44",
    "ether proto 0x88cc",
    "ether proto \\ip",
    "host 10.1.2.3",
    "src host 10.1.2.3",
    "dst host 192.168.7.9",
    "src 10.1.2.3",
    "src and dst host 10.1.2.3",
    "src or dst host 10.1.2.4",
    "ip host 10.1.2.3",
    "arp host 10.1.2.4",
    "arp src host 10.1.2.3",
    "rarp host 10.1.2.3",
    "host fd01::1",
    "dst host fe80::2",
    "net fd00::/8",
    "src net fe80::/10",
    "ip6 host fd01::1",
    "ip6 net fe80::/64",
    "net 10",
    "net 192.168",
    "net 10.1.2",
    "net 10.0.0.0/8",
    "src net 10.1.0.0/16",
    "dst net 192.168.7.8/31",
    "net 10.69.0.0 mask 255.255.0.0",
    "net 0.0.0.0/0",
    "net ::/0",
    "host 10.69.189.10",
    "dst net 10.69.189.0/24",
    "port 80",
    "src port 53",
    "dst port 80",
    "src and dst port 443",
    "tcp port 443",
    "udp port 53",
    "sctp dst port 80",
    "tcp src port 40000",
    "portrange 1-1023",
    "tcp portrange 400-500",
    "dst portrange 5000-6000",
    "portrange 90-70",
    "port 22",
    "tcp dst port 445",
    "udp dst port 53",
    "ether host 00:1b:44:11:3a:b7",
    "ether src 02:00:00:00:00:09",
    "ether dst 02:00:00:00:00:09",
    "ether broadcast",
    "broadcast",
    "multicast",
    "ether multicast",
    "less 60",
    "greater 200",
];

/// What has more than a term in it.
const EXPRESSIONS: &[&str] = &[
    "tcp or udp and port 80",
    "udp and port 53 or port 80",
    "not host 10.1.2.3 and 192.168.7.9",
    "port 80 or 443 or 53",
    "tcp port (80 or 443)",
    "not (tcp or udp)",
    "!tcp && !udp",
    "tcp || arp",
    "host 10.1.2.3 or net 192.168 and not port 80",
    "dst port 80 or src 10.1.2.3 and icmp",
    "not not tcp",
    "((ip6))",
    "(tcp and (port 80 or portrange 440-450)) or (arp and not host 10.1.2.4)",
    "src host 10.1.2.3 and (dst port 80 or 5353)",
    "ip and not host (10.69.189.10 or 10.1.2.3)",
];

#[test]
fn it_lets_through_what_tcpdump_lets_through() {
    let packets = [odd(), lab()].concat();
    let mut some = 0;
    for text in TERMS.iter().chain(EXPRESSIONS) {
        let passed = compare(text, text, &packets, ETHERNET);
        some += usize::from(passed > 0 && passed < packets.len());
    }
    assert!(some > 60, "{some} of them tell packets apart");
}

#[test]
fn terms_joined_at_random_mean_what_they_mean_to_tcpdump() {
    let packets = [odd(), lab()].concat();
    let mut state = 0x9e37_79b9_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..120 {
        let mut text = String::new();
        let mut open = 0;
        let words = 2 + random(6);
        for word in 0..words {
            if word > 0 {
                text.push_str(if random(2) == 0 { " and " } else { " or " });
            }
            if random(3) == 0 {
                text.push_str("not ");
            }
            if random(4) == 0 && word + 1 < words {
                text.push('(');
                open += 1;
            }
            text.push_str(TERMS[random(TERMS.len())]);
            if open > 0 && random(3) == 0 {
                text.push(')');
                open -= 1;
            }
        }
        text.push_str(&")".repeat(open));
        compare(&text, &text, &packets, ETHERNET);
    }
}

#[test]
fn packets_that_begin_with_ip_are_told_apart_too() {
    let packets: Vec<Vec<u8>> = odd_ip().into_iter().map(|(_, packet)| packet).collect();
    for text in TERMS.iter().chain(EXPRESSIONS) {
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        if words.any(|word| matches!(word, "ether" | "arp" | "rarp" | "broadcast" | "multicast")) {
            continue;
        }
        compare(text, text, &packets, 101);
    }
    for (text, what) in [
        ("ether host 00:1b:44:11:3a:b7", "ether"),
        ("not vlan 5", "vlan"),
    ] {
        let filter: Filter = text.parse().unwrap();
        assert_eq!(
            filter.program(101).unwrap_err(),
            FilterError::NoEthernet(what)
        );
    }
}

fn tagged(packet: &[u8], kind: u16, number: u16) -> Vec<u8> {
    let tag = [kind.to_be_bytes(), (0x6000 | number).to_be_bytes()].concat();
    [&packet[..12], &tag, &packet[12..]].concat()
}

#[test]
fn a_tag_hides_nothing_wherever_it_is() {
    let plain = odd();
    let once: Vec<Vec<u8>> = plain
        .iter()
        .map(|packet| tagged(packet, 0x8100, 7))
        .collect();
    let twice: Vec<Vec<u8>> = once
        .iter()
        .map(|packet| tagged(packet, 0x88a8, 9))
        .collect();
    for text in TERMS
        .iter()
        .chain(EXPRESSIONS)
        .filter(|text| !text.contains("less") && !text.contains("greater"))
    {
        compare(
            &format!("vlan and ({text})"),
            &format!("vlan and ({text})"),
            &once,
            ETHERNET,
        );
        compare(
            &format!("vlan 9 and vlan 7 and ({text})"),
            &format!("vlan 9 and vlan 7 and ({text})"),
            &twice,
            ETHERNET,
        );
        let program = program(text, ETHERNET);
        for ((plain, once), twice) in plain.iter().zip(&once).zip(&twice) {
            let is = passes(&program, plain, None);
            assert_eq!(passes(&program, once, None), is, "{text}");
            assert_eq!(passes(&program, twice, None), is, "{text}");
            assert_eq!(passes(&program, plain, Some(7)), is, "{text}");
        }
    }
    let numbered = program("vlan 7", ETHERNET);
    let any = program("vlan", ETHERNET);
    for (packet, taken, has) in [
        (&plain[0], None, [false, false]),
        (&plain[0], Some(7), [true, true]),
        (&plain[0], Some(0x6007), [true, true]),
        (&plain[0], Some(8), [true, false]),
        (&once[0], None, [true, true]),
        (&once[0], Some(9), [true, true]),
        (&twice[0], None, [true, true]),
    ] {
        assert_eq!(
            [&any, &numbered].map(|program| passes(program, packet, taken)),
            has
        );
    }
}

#[test]
fn a_packet_that_is_cut_is_one_without_what_is_cut_off() {
    let packets = [
        odd(),
        odd()
            .iter()
            .map(|packet| tagged(packet, 0x8100, 7))
            .collect(),
    ]
    .concat();
    for text in TERMS.iter().filter(|text| !text.contains("less")) {
        let (is, is_not) = (
            program(text, ETHERNET),
            program(&format!("not ({text})"), ETHERNET),
        );
        for packet in &packets {
            let whole = passes(&is, packet, None);
            for len in 14..packet.len() {
                let part = passes(&is, &packet[..len], None);
                assert!(whole || !part, "{text}");
                assert_ne!(
                    part,
                    passes(&is_not, &packet[..len], None),
                    "{text} cut at {len}"
                );
            }
        }
    }
}

#[test]
fn what_is_no_filter_is_answered_with_what_is_wrong_and_where() {
    let refused = |text: &str| text.parse::<Filter>().unwrap_err().to_string();
    for (text, at, part) in [
        ("", 1, "missing"),
        ("tcp and", 8, "missing"),
        ("tcp port http", 10, "number"),
        ("host example.com", 6, "not looked up"),
        ("host 10.0.0.0/8", 6, "net"),
        ("net 10.0.0.1/8", 5, "10.0.0.0/8"),
        ("net 10.0.0.0/33", 5, "10.0.0.0/8"),
        ("tcp host 10.0.0.1", 10, "no such address"),
        ("ip6 host 10.0.0.1", 10, "no such address"),
        ("icmp port 7", 11, "ports"),
        ("port 70000", 6, "65535"),
        ("vlan 5000", 6, "4095"),
        ("(tcp or udp", 12, "closed"),
        ("tcp)", 4, "closes"),
        ("tcp udp", 5, "'and' or 'or'"),
        ("tcp[13] & 2 != 0", 4, "no bytes are compared"),
        ("tpc", 1, "not understood"),
        ("ether", 6, "missing"),
        ("port 80 or 90000", 12, "65535"),
        ("söme", 2, "not understood"),
    ] {
        let said = refused(text);
        assert!(
            said.starts_with(&format!("at character {at}:")) && said.contains(part),
            "{text}: {said}"
        );
    }
    assert!(refused(&"(".repeat(1_000)).contains("parentheses"));
    assert!(refused(&"not ".repeat(4_000)).contains("parentheses"));
    assert!(refused(&"1 ".repeat(10_000)).contains("words"));
    let hosts: Vec<String> = (0..1_000)
        .map(|n| format!("10.0.{}.{}", n / 250, n % 250))
        .collect();
    let long: Filter = format!("host {}", hosts.join(" or ")).parse().unwrap();
    assert!(matches!(
        long.program(ETHERNET),
        Err(FilterError::TooLong(_))
    ));
    let long: Filter = format!(
        "src port {}",
        (1..200)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(" or ")
    )
    .parse()
    .unwrap();
    let program = long.program(ETHERNET).unwrap().into_instructions();
    let last = ethernet(IP, &ip4(6, 0, 0, &segment(199, 1)));
    assert!(passes(&program, &last, None));
    assert!(!passes(
        &program,
        &ethernet(IP, &ip4(6, 0, 0, &segment(200, 1))),
        None
    ));
}
