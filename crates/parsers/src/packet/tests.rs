//! Layers, one frame each.

use super::*;

/// IPv4, no options, to `protocol`.
fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut packet = vec![
        0x45,
        0,
        (len >> 8) as u8,
        len as u8,
        0,
        9,
        0,
        0,
        64,
        protocol,
        0,
        0,
    ];
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(payload);
    packet
}

fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    let words = [ports.0, ports.1, len, 0xabcd];
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u16::to_be_bytes).collect();
    bytes.extend(payload);
    bytes
}

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A UDP payload and the tags met on the way down to it.
type Descended = (Vec<u8>, Vec<(u8, u32)>);

/// Follows all layers down to a UDP payload.
fn descend(link_type: u32, bytes: &[u8]) -> Option<Descended> {
    let mut frame = decode_frame(link_type, bytes)?;
    loop {
        let Next::Ip(packet) = frame.next else {
            return None;
        };
        let ip = decode_ip(packet)?;
        let header = decode_transport(ip.protocol, ip.payload, ip.missing)?;
        let inner = match header.segment {
            Segment::Udp(udp) => match decode_udp_tunnel(&udp, &mut frame.tags) {
                Some(inner) => inner,
                None => return Some((udp.payload.to_vec(), frame.tags.iter().collect())),
            },
            _ => decode_tunnel(ip.protocol, ip.payload, &mut frame.tags)?,
        };
        frame.enter(inner);
    }
}

fn check(link_type: u32, bytes: &[u8], tags: &[(u8, u32)]) {
    let (payload, found) = descend(link_type, bytes).expect("the packet is found");
    assert_eq!(payload, b"inside");
    assert_eq!(found, tags);
}

fn packet() -> Vec<u8> {
    ipv4(17, &udp((5000, 9), b"inside"))
}

#[test]
fn every_link_type_leads_to_the_packet() {
    let packet = packet();
    check(1, &ethernet(0x0800, &packet), &[]);
    for raw in [12, 14, 101, 228] {
        check(raw, &packet, &[]);
    }
    check(0, &[&[2, 0, 0, 0], packet.as_slice()].concat(), &[]);
    check(9, &[&[0xff, 3, 0, 0x21], packet.as_slice()].concat(), &[]);
    let cooked = [
        &[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 5, 0, 0, 8, 0][..],
        &packet,
    ]
    .concat();
    check(113, &cooked, &[]);
    let frame = decode_frame(113, &cooked).unwrap();
    assert_eq!(frame.source_mac, Some([2, 0, 0, 0, 0, 5]));
    let head = [8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 5, 0, 0];
    check(276, &[&head[..], &packet].concat(), &[]);
    assert!(decode_frame(147, &packet).is_none());
}

#[test]
fn tags_and_labels_are_taken_off() {
    let packet = packet();
    let qinq = [&[0, 7, 0x81, 0, 0x20, 9, 8, 0][..], &packet].concat();
    check(1, &ethernet(0x88a8, &qinq), &[(TAG_VLAN, 7), (TAG_VLAN, 9)]);
    let priority_only = [&[0xe0, 0, 8, 0][..], &packet].concat();
    check(1, &ethernet(0x8100, &priority_only), &[]);
    let mpls = [&[0, 1, 0, 64, 0, 2, 1, 64][..], &packet].concat();
    check(1, &ethernet(0x8847, &mpls), &[]);
    let pppoe = [&[0x11, 0, 0, 1, 0, 36, 0, 0x21][..], &packet].concat();
    check(1, &ethernet(0x8864, &pppoe), &[]);
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &packet].concat();
    check(1, &ethernet(0x0040, &snap), &[]);
}

#[test]
fn tunnels_are_entered() {
    let packet = packet();
    let frame = ethernet(0x0800, &packet);
    check(101, &ipv4(4, &packet), &[]);
    check(101, &ipv4(47, &[&[0, 0, 8, 0][..], &packet].concat()), &[]);
    let keyed = [&[0x20, 0, 8, 0, 0, 0, 0, 5][..], &packet].concat();
    check(101, &ipv4(47, &keyed), &[(TAG_GRE, 5)]);
    let erspan = [&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1][..], &[0x10; 8], &frame].concat();
    check(101, &ipv4(47, &erspan), &[]);
    let vxlan = [&[8, 0, 0, 0, 0, 0, 42, 0][..], &frame].concat();
    check(
        101,
        &ipv4(17, &udp((50_000, 4789), &vxlan)),
        &[(TAG_VXLAN, 42)],
    );
    let geneve = [&[1, 0, 0x65, 0x58, 0, 0, 43, 0, 9, 9, 9, 9][..], &frame].concat();
    check(
        101,
        &ipv4(17, &udp((50_000, 6081), &geneve)),
        &[(TAG_VXLAN, 43)],
    );
    let gtp = [
        &[0x30, 0xff, 0, packet.len() as u8, 0, 0, 0, 1][..],
        &packet,
    ]
    .concat();
    check(101, &ipv4(17, &udp((2152, 2152), &gtp)), &[]);
}

#[test]
fn a_datagram_on_a_tunnel_port_that_is_no_tunnel_stays_a_datagram() {
    check(101, &ipv4(17, &udp((50_000, 4789), b"inside")), &[]);
    check(101, &ipv4(17, &udp((50_000, 3544), b"inside")), &[]);
}

#[test]
fn extension_headers_lead_to_the_transport() {
    let body = udp((5000, 9), b"inside");
    let hop_by_hop = [
        &[60, 0, 1, 4, 0, 0, 0, 0][..],
        &[17, 0, 1, 4, 0, 0, 0, 0],
        &body,
    ]
    .concat();
    let mut packet = vec![0x60, 0, 0, 0, 0, hop_by_hop.len() as u8, 0, 64];
    packet.extend([0xfd; 32]);
    packet.extend(&hop_by_hop);
    check(101, &packet, &[]);
    let fragment = [&[17, 0, 0, 9, 0, 0, 0, 7][..], &body].concat();
    packet.truncate(40);
    packet.extend(&fragment);
    packet[5] = fragment.len() as u8;
    packet[6] = 44;
    let ip = decode_ip(&packet).unwrap();
    assert_eq!(
        ip.fragment,
        Some(Fragment {
            offset: 8,
            more: true,
            ident: 7
        })
    );
}

#[test]
fn padding_is_cut_and_what_was_not_captured_is_counted() {
    let mut padded = packet();
    padded.extend([0; 20]);
    check(101, &padded, &[]);
    let cut = &packet()[..30];
    let ip = decode_ip(cut).unwrap();
    assert_eq!((ip.payload.len(), ip.missing), (10, 4));
    let header = decode_transport(ip.protocol, ip.payload, ip.missing).unwrap();
    assert_eq!((header.payload_len, header.missing), (6, 4));
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let mut short = packet();
    short[0] = 0x44;
    assert!(decode_ip(&short).is_none());
    let mut tiny = packet();
    tiny[3] = 19;
    assert!(decode_ip(&tiny).is_none());
    assert!(decode_transport(6, &[0; 19], 0).is_none());
    assert!(
        decode_transport(6, &[0; 20], 0).is_none(),
        "a data offset of zero"
    );
}
