use thymus_schema::{
    Conn, DnsTransaction, Endpoint, EventId, FileSeen, FlowId, HttpTransaction, QuirkSeen, Scope,
    Timestamp, TlsHandshake, Transport,
};

use super::*;

fn load(name: &str, text: &str) -> Result<Indicators, IngestError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    Indicators::load(&[path])
}

fn event(server: &str, body: EventBody) -> Event {
    let client = Endpoint::new("10.0.0.7".parse().unwrap(), 5000);
    let server = Endpoint::new(server.parse().unwrap(), 443);
    let conn = Conn {
        flow: FlowId(1),
        client,
        server,
        transport: Transport::Tcp,
        scope: Scope::NONE,
    };
    Event {
        id: EventId::default(),
        ts: Timestamp::default(),
        conn: Some(conn),
        body,
    }
}

fn dns(query: &str) -> Event {
    let body = DnsTransaction {
        query: query.into(),
        ..DnsTransaction::default()
    };
    event("192.0.2.1", EventBody::Dns(Box::new(body)))
}

fn quirk(server: &str) -> Event {
    event(server, EventBody::Quirk(QuirkSeen::default()))
}

#[test]
fn one_column_is_enough_and_domains_match_below() {
    let list =
        "# ours\nbad.example\n203.0.113.9\n198.51.100.0/24\nhxxp://Evil.example/a[.]exe\nwhat\n";
    let indicators = load("ours.csv", list).unwrap();
    assert_eq!((indicators.len(), indicators.left_out), (4, 1));
    let hit = indicators.observe(&dns("www.bad.example")).unwrap();
    assert_eq!(
        (&*hit.source, &*hit.name, &*hit.detail),
        ("ours.csv", "listed domain", "www.bad.example")
    );
    assert!(indicators.observe(&dns("notbad.example")).is_none());
    assert_eq!(
        &*indicators.observe(&quirk("203.0.113.9")).unwrap().name,
        "listed address"
    );
    assert_eq!(
        &*indicators.observe(&quirk("198.51.100.77")).unwrap().name,
        "listed network"
    );
    assert!(indicators.observe(&quirk("203.0.113.10")).is_none());
    let http = HttpTransaction {
        host: "evil.example".into(),
        uri: "/a.exe".into(),
        ..HttpTransaction::default()
    };
    let hit = indicators
        .observe(&event("192.0.2.1", EventBody::Http(Box::new(http))))
        .unwrap();
    assert_eq!(&*hit.name, "listed URL");
}

#[test]
fn columns_are_found_with_and_without_a_header() {
    for list in [
        "type,value,comment\ndomain,bad.example,seen in March\n",
        "domain,bad.example,seen in March\n",
        "comment,indicator\nseen in March,bad.example\n",
    ] {
        let indicators = load("a.csv", list).unwrap();
        let tls = TlsHandshake {
            sni: "BAD.example".into(),
            ..TlsHandshake::default()
        };
        let hit = indicators
            .observe(&event("192.0.2.1", EventBody::Tls(Box::new(tls))))
            .unwrap();
        assert_eq!(&*hit.detail, "bad.example: seen in March", "{list}");
    }
}

#[test]
fn stix_equalities_are_read_and_the_rest_is_counted() {
    let digest = "a".repeat(64);
    let bundle = format!(
        r#"{{"type":"bundle","objects":[
        {{"type":"indicator","name":"one","pattern":"[domain-name:value = 'bad.example' OR ipv4-addr:value = '203.0.113.9']"}},
        {{"type":"indicator","name":"two","pattern":"[file:hashes.'SHA-256' = '{digest}']"}},
        {{"type":"indicator","name":"no","pattern":"[ipv4-addr:value = '203.0.113.1' AND url:value = 'x']"}},
        {{"type":"malware","name":"not an indicator"}}]}}"#
    );
    let indicators = load("b.json", &bundle).unwrap();
    assert_eq!((indicators.len(), indicators.left_out), (3, 1));
    let file = FileSeen {
        sha256: digest.into(),
        ..FileSeen::default()
    };
    let hit = indicators
        .observe(&event("192.0.2.1", EventBody::FileSeen(Box::new(file))))
        .unwrap();
    assert!(hit.detail.ends_with(": two"), "{}", hit.detail);
    assert!(indicators.observe(&quirk("203.0.113.1")).is_none());
}

#[test]
fn misp_attributes_are_read_also_inside_objects() {
    let event_json = r#"{"Event":{"Attribute":[
        {"type":"ip-dst|port","value":"203.0.113.9|8080","comment":"panel"},
        {"type":"comment","value":"bad.example"}],
        "Object":[{"Attribute":[{"type":"domain","value":"bad.example","comment":""}]}]}}"#;
    let indicators = load("misp.json", event_json).unwrap();
    assert_eq!((indicators.len(), indicators.left_out), (2, 1));
    assert_eq!(
        &*indicators.observe(&quirk("203.0.113.9")).unwrap().detail,
        "203.0.113.9: panel"
    );
    assert!(indicators.observe(&dns("a.bad.example")).is_some());
}

#[test]
fn a_list_without_indicators_is_refused_with_what_to_do() {
    for (name, text) in [
        ("a.csv", "hello\n"),
        ("b.json", "{\"a\":1}"),
        ("c.json", "{"),
        ("d.csv", ""),
    ] {
        let error = load(name, text).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    assert!(Indicators::load(&["/does/not/exist.csv".into()]).is_err());
}
