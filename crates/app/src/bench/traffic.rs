//! A capture of ordinary traffic for measuring speed: office devices that look names up and fetch
//! pages over HTTP. The same number of conversations gives the same bytes.

use std::io::{self, Write};

const DEVICES: u64 = 200;
const SITES: u64 = 500;
/// Microseconds between the starts of two conversations.
const STEP_US: u64 = 20_000;
const EPOCH_US: u64 = 1_735_732_800_000_000;

const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// Writes a classic capture (pcap, microseconds, Ethernet) of `flows` conversations, half of them
/// name look-ups.
pub(crate) fn write(flows: u64, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
    out.write_all(&[2, 0, 4, 0])?;
    out.write_all(&[0; 8])?;
    out.write_all(&65_535_u32.to_le_bytes())?;
    out.write_all(&1_u32.to_le_bytes())?;
    for n in 0..flows.div_ceil(2) {
        let mut talk = Talk::new(n);
        talk.look_up(out)?;
        if n * 2 + 1 < flows {
            talk.fetch(out)?;
        }
    }
    Ok(())
}

struct Talk {
    n: u64,
    at_us: u64,
    device: [u8; 4],
    site: u64,
    port: u16,
}

impl Talk {
    fn new(n: u64) -> Self {
        let device = n % DEVICES;
        Self {
            n,
            at_us: EPOCH_US + n * 2 * STEP_US,
            device: [10, 1, (device / 250) as u8, (device % 250 + 1) as u8],
            site: (n / 7 + n % 13) % SITES,
            port: 20_000 + (n % 40_000) as u16,
        }
    }

    fn name(&self) -> String {
        format!("www.site{}.example", self.site)
    }

    fn server(&self) -> [u8; 4] {
        [
            198,
            51,
            (self.site / 250) as u8,
            (self.site % 250 + 1) as u8,
        ]
    }

    fn look_up(&mut self, out: &mut impl Write) -> io::Result<()> {
        let id = (self.n as u16).to_be_bytes();
        let mut question = Vec::new();
        for label in self.name().split('.') {
            question.push(label.len() as u8);
            question.extend_from_slice(label.as_bytes());
        }
        question.extend_from_slice(&[0, 0, 1, 0, 1]);
        let mut query = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend_from_slice(&question);
        let mut answer = vec![id[0], id[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        answer.extend_from_slice(&question);
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4]);
        answer.extend_from_slice(&self.server());
        let resolver = [10, 1, 0, 253];
        self.datagram(self.device, resolver, (self.port, 53), &query, out)?;
        self.datagram(resolver, self.device, (53, self.port), &answer, out)
    }

    fn fetch(&mut self, out: &mut impl Write) -> io::Result<()> {
        let request = format!(
            "GET /page/{} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n",
            self.n % 17,
            self.name()
        );
        let body = "x".repeat(400 + (self.n % 900) as usize);
        let response = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (mine, theirs) = (request.len() as u32, response.len() as u32);
        let steps: [(bool, u8, u32, u32, &[u8]); 8] = [
            (true, SYN, 0, 0, b""),
            (false, SYN | ACK, 0, 1, b""),
            (true, ACK, 1, 1, b""),
            (true, PSH | ACK, 1, 1, request.as_bytes()),
            (false, PSH | ACK, 1, 1 + mine, response.as_bytes()),
            (true, FIN | ACK, 1 + mine, 1 + theirs, b""),
            (false, FIN | ACK, 1 + theirs, 2 + mine, b""),
            (true, ACK, 2 + mine, 2 + theirs, b""),
        ];
        for (from_client, flags, seq, ack, payload) in steps {
            self.segment(from_client, flags, (seq, ack), payload, out)?;
        }
        Ok(())
    }

    fn segment(
        &mut self,
        from_client: bool,
        flags: u8,
        (seq, ack): (u32, u32),
        payload: &[u8],
        out: &mut impl Write,
    ) -> io::Result<()> {
        let (client, server) = ((self.device, self.port), (self.server(), 80));
        let (from, to) = if from_client {
            (client, server)
        } else {
            (server, client)
        };
        let mut tcp = Vec::with_capacity(20 + payload.len());
        tcp.extend_from_slice(&from.1.to_be_bytes());
        tcp.extend_from_slice(&to.1.to_be_bytes());
        tcp.extend_from_slice(&seq.to_be_bytes());
        tcp.extend_from_slice(&ack.to_be_bytes());
        tcp.extend_from_slice(&[5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend_from_slice(payload);
        self.packet(from.0, to.0, 6, &tcp, out)
    }

    fn datagram(
        &mut self,
        from: [u8; 4],
        to: [u8; 4],
        (source, target): (u16, u16),
        payload: &[u8],
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut udp = Vec::with_capacity(8 + payload.len());
        udp.extend_from_slice(&source.to_be_bytes());
        udp.extend_from_slice(&target.to_be_bytes());
        udp.extend_from_slice(&((8 + payload.len()) as u16).to_be_bytes());
        udp.extend_from_slice(&[0, 0]);
        udp.extend_from_slice(payload);
        self.packet(from, to, 17, &udp, out)
    }

    fn packet(
        &mut self,
        from: [u8; 4],
        to: [u8; 4],
        protocol: u8,
        payload: &[u8],
        out: &mut impl Write,
    ) -> io::Result<()> {
        self.at_us += 150;
        let mut frame = Vec::with_capacity(34 + payload.len());
        for address in [to, from] {
            frame.extend_from_slice(&[2, 0]);
            frame.extend_from_slice(&address);
        }
        frame.extend_from_slice(&[8, 0]);
        let total = ((20 + payload.len()) as u16).to_be_bytes();
        frame.extend_from_slice(&[
            0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0,
        ]);
        frame.extend_from_slice(&from);
        frame.extend_from_slice(&to);
        frame.extend_from_slice(payload);
        let len = (frame.len() as u32).to_le_bytes();
        out.write_all(&((self.at_us / 1_000_000) as u32).to_le_bytes())?;
        out.write_all(&((self.at_us % 1_000_000) as u32).to_le_bytes())?;
        out.write_all(&len)?;
        out.write_all(&len)?;
        out.write_all(&frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_bytes() {
        let (mut once, mut again) = (Vec::new(), Vec::new());
        write(50, &mut once).unwrap();
        write(50, &mut again).unwrap();
        assert_eq!(once, again);
        // 25 look-ups of two packets, 25 fetches of eight.
        let mut packets = 0;
        let mut rest = &once[24..];
        while let Some(header) = rest.get(..16) {
            let len = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
            rest = &rest[16 + len..];
            packets += 1;
        }
        assert_eq!(packets, 25 * 10);
    }
}
