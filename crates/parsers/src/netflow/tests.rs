use super::*;

fn be16(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn be32(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn set(id: u16, body: &[u8]) -> Vec<u8> {
    [be16(&[id, body.len() as u16 + 4]), body.to_vec()].concat()
}

fn v9(sets: &[u8]) -> Vec<u8> {
    let header = [be16(&[9, 1]), be32(&[60_000, 1_700_000_000, 7, 42])].concat();
    [header, sets.to_vec()].concat()
}

fn ipfix(sets: &[u8]) -> Vec<u8> {
    let length = sets.len() as u16 + 16;
    let header = [be16(&[10, length]), be32(&[1_700_000_000, 7, 42])].concat();
    [header, sets.to_vec()].concat()
}

fn message(bytes: &[u8]) -> Message<'_> {
    let Some(Export::Message(message)) = read(bytes) else {
        panic!("not a message of sets");
    };
    message
}

/// The flows of a message whose first set holds the templates of the others.
fn flows(bytes: &[u8]) -> Vec<FlowFields> {
    let message = message(bytes);
    let mut known = Vec::new();
    let mut flows = Vec::new();
    for set in message.sets() {
        match set.kind {
            SetKind::Data(id) => {
                let template: &Template = known
                    .iter()
                    .find(|known: &&Template| known.id == id)
                    .unwrap();
                flows.extend(template.records(set.body));
            }
            kind => {
                let is_options = kind == SetKind::OptionsTemplates;
                for declared in templates(message.layout, is_options, set.body) {
                    let Declared::Template(template) = declared else {
                        panic!("{declared:?}");
                    };
                    known.push(template);
                }
            }
        }
    }
    flows
}

#[test]
fn a_record_of_version_5_is_read_where_its_fields_stand() {
    let mut bytes = be16(&[5, 2]);
    bytes.extend(be32(&[60_000, 1_700_000_000, 5, 99]));
    bytes.extend(be16(&[0x0102, 0x4064]));
    let mut record = be32(&[0x0a00_0001, 0x0a00_0002, 0, 0, 3, 300, 50_000, 59_000]);
    record.extend(be16(&[4000, 22]));
    record.extend([0, 0x1b, 6, 0]);
    record.extend([0; 8]);
    bytes.extend(&record);
    bytes.extend(&record[..47]);
    let Some(Export::V5(v5)) = read(&bytes) else {
        panic!("not version 5");
    };
    assert_eq!((v5.sequence, v5.engine, v5.sampling), (99, 0x0102, 100));
    let flows: Vec<_> = v5.records().collect();
    assert_eq!(flows.len(), 1, "a cut record is none");
    assert_eq!(v5.announced(), 2);
    assert_eq!(flows[0].source, Some("10.0.0.1".parse().unwrap()));
    assert_eq!(
        (flows[0].source_port, flows[0].destination_port),
        (4000, 22)
    );
    assert_eq!(flows[0].forward.octets, Some(300));
    assert_eq!(flows[0].forward.flags, Some(0x1b));
    assert_eq!(flows[0].start, Stamp::Uptime(50_000));
}

#[test]
fn records_follow_the_template_of_their_message() {
    let template = be16(&[256, 4, 8, 4, 12, 4, 1, 4, 22, 4]);
    let record = be32(&[0x0a00_0001, 0x0a00_0002, 1500, 1000]);
    let data = [record.clone(), record, vec![0, 0]].concat();
    let bytes = v9(&[set(0, &template), set(256, &data)].concat());
    let flows = flows(&bytes);
    assert_eq!(flows.len(), 2, "padding is no record");
    assert_eq!(flows[1].destination, Some("10.0.0.2".parse().unwrap()));
    assert_eq!(flows[1].forward.octets, Some(1500));
    assert_eq!(flows[1].start, Stamp::Uptime(1000));
}

#[test]
fn ipfix_has_enterprises_variable_lengths_and_two_directions() {
    let mut template = be16(&[300, 5, 8, 4, 0x8000 | 5, 0xffff]);
    template.extend(be32(&[9]));
    template.extend(be16(&[1, 2, 0x8000 | 1, 2]));
    template.extend(be32(&[29_305]));
    template.extend(be16(&[152, 8]));
    let mut data = be32(&[0x0a00_0001]);
    data.extend([3, 1, 2, 3]);
    data.extend(be16(&[700, 900]));
    data.extend(1_700_000_000_123_u64.to_be_bytes());
    let bytes = ipfix(&[set(2, &template), set(300, &data)].concat());
    let flows = flows(&bytes);
    assert_eq!(flows[0].forward.octets, Some(700));
    assert_eq!(flows[0].reverse.octets, Some(900));
    assert_eq!(flows[0].start, Stamp::Nanos(1_700_000_000_123_000_000));
}

#[test]
fn options_say_how_many_packets_were_looked_at() {
    // One scope field (the system), then interval and algorithm.
    let template = be16(&[257, 4, 8, 1, 4, 34, 4, 35, 1]);
    let data = [be32(&[0, 100]), vec![1]].concat();
    let bytes = v9(&[set(1, &template), set(257, &data)].concat());
    assert_eq!(flows(&bytes)[0].sampling, Some(100));

    // Of IPFIX: a selector that takes 1 and leaves out 99.
    let template = be16(&[258, 3, 1, 302, 8, 305, 4, 306, 4]);
    let data = [5_u64.to_be_bytes().to_vec(), be32(&[1, 99])].concat();
    let bytes = ipfix(&[set(3, &template), set(258, &data)].concat());
    let flows = flows(&bytes);
    assert_eq!((flows[0].sampler, flows[0].sampling), (Some(5), Some(100)));
}

#[test]
fn times_in_the_format_of_ntp_are_understood() {
    let template = be16(&[256, 2, 8, 4, 154, 8]);
    let secs = (1_700_000_000_i64 + 2_208_988_800) as u32;
    let data = [be32(&[0x0a00_0001, secs, 0x8000_0000])].concat();
    let bytes = ipfix(&[set(2, &template), set(256, &data)].concat());
    assert_eq!(
        flows(&bytes)[0].start,
        Stamp::Nanos(1_700_000_000_500_000_000)
    );
}

#[test]
fn a_template_that_would_never_end_is_refused() {
    let empty = be16(&[256, 1, 8, 0]);
    let declared: Vec<_> = templates(Layout::V9, false, &empty).collect();
    assert_eq!(declared, [Declared::Refused]);
    let mut large = be16(&[256, 600]);
    for _ in 0..600 {
        large.extend(be16(&[1, 4]));
    }
    let declared: Vec<_> = templates(Layout::Ipfix, false, &large).collect();
    assert_eq!(declared, [Declared::Refused]);
    let withdrawn = be16(&[256, 0]);
    let declared: Vec<_> = templates(Layout::Ipfix, false, &withdrawn).collect();
    assert_eq!(declared, [Declared::Withdrawn(256)]);
}

#[test]
fn a_length_that_cannot_be_ends_the_message() {
    let bytes = v9(&be16(&[256, 3, 1, 1]));
    let mut sets = message(&bytes).sets();
    assert!(sets.next().is_none() && sets.is_broken());
    let bytes = v9(&set(256, &[1, 2, 3, 4])[..6]);
    let mut sets = message(&bytes).sets();
    assert_eq!(sets.next().map(|set| set.body), Some(&[1, 2][..]));
    assert!(sets.next().is_none() && sets.is_broken());
}
