//! A Zeek connection log for measuring how fast logs are read. The same number of records gives the
//! same bytes.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use thymus_ingest::{Replay, ReplayOptions};

use crate::replay::now;

const HEAD: &str = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n\
#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\t\
orig_bytes\tresp_bytes\tconn_state\tmissed_bytes\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\t\
resp_ip_bytes\n#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount\t\
string\tcount\tstring\tcount\tcount\tcount\tcount\n";

/// Writes a log of `records` connections.
pub(super) fn write(records: u64, out: &mut impl Write) -> io::Result<()> {
    out.write_all(HEAD.as_bytes())?;
    for n in 0..records {
        let (secs, micros) = (1_735_732_800 + n / 200, (n % 200) * 5_000);
        let (service, port) = [("dns", 53), ("ssl", 443), ("http", 80), ("-", 8443)]
            .get(n as usize % 4)
            .copied()
            .unwrap_or(("-", 1));
        let proto = if port == 53 { "udp" } else { "tcp" };
        writeln!(
            out,
            "{secs}.{micros:06}\tC{n:017x}\t10.1.0.{}\t{}\t198.51.{}.{}\t{port}\t{proto}\t{service}\t\
             0.{micros:06}\t{}\t{}\tSF\t0\tShADadFf\t6\t820\t5\t1460",
            n % 200 + 1,
            20_000 + n % 40_000,
            n / 250 % 4,
            n % 250 + 1,
            300 + n % 700,
            900 + n % 5_000,
        )?;
    }
    Ok(())
}

/// Reads the log at `path`; how many events it gave and in how many seconds.
pub(super) fn read(path: PathBuf) -> Result<(u64, f64)> {
    let began = now();
    let mut replay = Replay::open(&[path], ReplayOptions::default())?;
    let mut events = Vec::new();
    let mut count = 0;
    loop {
        let more = replay.next_batch(&mut events)?;
        count += events.len() as u64;
        events.clear();
        if !more {
            return Ok((count, began.elapsed().as_secs_f64()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generated_record_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conn.log");
        write(500, &mut std::fs::File::create(&path).unwrap()).unwrap();
        let (events, _) = read(path).unwrap();
        assert_eq!(events, 500);
    }
}
