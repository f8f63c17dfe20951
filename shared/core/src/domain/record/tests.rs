use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

/// Any string: mostly plain, some with what JSON escapes or other scripts.
fn text() -> BoxedStrategy<String> {
    let plain = "[ -~]{0,40}".prop_map(|text| text.replace(['"', '\\'], ""));
    prop_oneof![4 => plain, 1 => ".{0,12}", 1 => Just("a\\\"\n".to_owned())].boxed()
}

fn plain_text_value() -> BoxedStrategy<String> {
    "[a-zA-Z0-9./:#_-]{0,40}".boxed()
}

fn record_of(text: BoxedStrategy<String>, dwell: std::ops::Range<i64>) -> impl Strategy<Value = ClickRecord> {
    let ids = (
        any::<u128>(),
        option::of(any::<u128>()),
        1..=i64::MAX as u64,
        1..1000_u64,
        1..=i64::MAX as u64,
        option::of(1..1_u64 << 40),
    );
    let judged = (
        prop_oneof![0..4_000_000_000_000_i64, Just(0), Just(i64::MAX)],
        select(&Verdict::ALL[..]),
        option::of(any::<u128>()),
        any::<bool>(),
    );
    let client = (
        text.clone(),
        select(&Device::ALL[..]),
        0..250_u8,
        option::of(text.clone()),
        option::of(text.clone()),
        option::of(text.clone()),
    );
    (ids, judged, client, option::of(dwell), option::of(text)).prop_map(
        |(ids, judged, client, dwell_ms, referrer_host)| ClickRecord {
            v: RECORD_VERSION,
            click_id: ClickId(ids.0),
            impression_id: ids.1.map(ImpressionId),
            ad_id: AdId(ids.2),
            campaign_id: CampaignId(ids.3),
            advertiser_id: AdvertiserId(ids.4),
            placement_id: ids.5.map(PlacementId),
            clicked_at_ms: judged.0,
            verdict: judged.1,
            duplicate_of: judged.2.map(ClickId),
            claimed: judged.3,
            partition_key: client.0,
            device: client.1,
            country: Country::from_index(client.2).unwrap(),
            network: client.3,
            client_hash: client.4,
            agent_hash: client.5,
            dwell_ms,
            referrer_host,
        },
    )
}

/// What the JSON parser makes of the bytes.
fn by_serde(json: &[u8]) -> Option<CountedClick> {
    let record: ClickRecord = serde_json::from_slice(json).ok()?;
    (record.v == RECORD_VERSION).then(|| CountedClick::from(&record))
}

/// The rule of the short way: it never takes what the parser does not, nor as anything else.
fn agree(json: &[u8]) {
    let (short, long) = (plain::read(json), by_serde(json));
    if short.is_some() {
        assert_eq!(short, long, "{}", String::from_utf8_lossy(json));
    }
    let to_claim =
        |click: &CountedClick| click.verdict.is_valid() && !click.claimed && click.impression_id.is_none();
    assert_eq!(
        CountedClick::parse(json).ok(),
        long.filter(|click| !to_claim(click)),
        "{}",
        String::from_utf8_lossy(json)
    );
}

fn sample() -> ClickRecord {
    ClickRecord {
        v: RECORD_VERSION,
        click_id: ClickId::new(1_767_312_000_123, [7; 10]),
        impression_id: Some(ImpressionId::new(1_767_311_990_000, [9; 10])),
        ad_id: AdId(731),
        campaign_id: CampaignId(12),
        advertiser_id: AdvertiserId(9),
        placement_id: Some(PlacementId(5)),
        clicked_at_ms: 1_767_312_000_123,
        verdict: Verdict::Valid,
        duplicate_of: Some(ClickId::new(1_767_312_000_001, [8; 10])),
        claimed: true,
        partition_key: "731#0".to_owned(),
        device: Device::Mobile,
        country: Country::from_code(b"DE").unwrap(),
        network: Some("203.0.113.0/24".to_owned()),
        client_hash: Some("q80Zk1nHTvyq3xkVZHYcQA".to_owned()),
        agent_hash: Some("9fQ1l0lXr2SyCw3k7Jv8Zw".to_owned()),
        dwell_ms: Some(4211),
        referrer_host: Some("news.example.com".to_owned()),
    }
}

fn line(record: &ClickRecord) -> String {
    String::from_utf8(record.to_line().unwrap()).unwrap()
}

#[test]
fn every_changed_byte_of_a_record_is_judged_as_the_parser_judges_it() {
    let line = line(&sample()).into_bytes();
    for place in 0..line.len() {
        for byte in 0..=255 {
            let mut changed = line.clone();
            changed[place] = byte;
            agree(&changed);
        }
    }
}

#[test]
fn every_cut_dropped_and_doubled_byte_is_judged_as_the_parser_judges_it() {
    let line = line(&sample()).into_bytes();
    for place in 0..line.len() {
        agree(&line[..place]);
        agree(&line[place..]);
        let mut changed = line.clone();
        changed.remove(place);
        agree(&changed);
        for byte in b"\"\\{}[]:,0 \n\t-.eE\x00\x7f\x80\xff" {
            let mut changed = line.clone();
            changed.insert(place, *byte);
            agree(&changed);
        }
    }
}

#[test]
fn other_spellings_are_read_by_the_parser() {
    let line = line(&sample());
    let expected = Ok(CountedClick::from(&sample()));
    for spelling in [
        line.replace("{\"v\":1,", "{ \"v\" : 1 ,"),
        line.replace("{\"v\":1,", "{").replace("}\n", ",\"v\":1}"),
        line.replace("731#0", "\\u0037#0"),
        line.replace("news.example.com", "nëws.example.com"),
        line.replace(":4211", ":-4211"),
        line.replace(":4211", ":null"),
        line.replace("}\n", "}\r\n\n "),
        line.replace("\"mobile\"", "\"m\\u006fbile\""),
    ] {
        assert_ne!(spelling, line);
        assert_eq!(CountedClick::parse(spelling.as_bytes()), expected, "{spelling}");
        agree(spelling.as_bytes());
    }
}

#[test]
fn what_is_no_record_is_refused() {
    let line = line(&sample());
    let malformed = |text: &str| {
        matches!(
            CountedClick::parse(text.as_bytes()),
            Err(RecordError::Malformed(_))
        )
    };
    for bad in [
        String::new(),
        "\n".to_owned(),
        "null".to_owned(),
        "\"eyJ2IjoxfQ==\"".to_owned(),
        format!("{line}{line}"),
        line.replace("{\"v\":1,", "{"),
        line.replace("{\"v\":1,", "{\"v\":01,"),
        line.replace("{\"v\":1,", "{\"v\":1.0,"),
        line.replace("{\"v\":1,", "{\"v\":1,\"v\":1,"),
        line.replace("{\"v\":1,", "{\"v\":1,\"w\":1,"),
        line.replace("\"731\"", "731"),
        line.replace("\"731\"", "\"0731\""),
        line.replace("\"731\"", "\"0\""),
        line.replace("\"731\"", "\"\""),
        line.replace("\"731\"", "\"9223372036854775808\""),
        line.replace("\"731\"", "\"18446744073709551617\""),
        line.replace(":1767312000123", ":01767312000123"),
        line.replace(":1767312000123", ":1767312000123.5"),
        line.replace(":1767312000123", ":9223372036854775808"),
        line.replace("valid", "Valid"),
        line.replace("mobile", "phone"),
        line.replace("\"DE\"", "\"XX\""),
        line.replace(":true", ":1"),
        line.replace("news.example.com", "news\nexample"),
    ] {
        assert!(malformed(&bad), "{bad}");
        agree(bad.as_bytes());
    }
    let mut latin = line.replace("news", "n\u{0}ws").into_bytes();
    latin
        .iter_mut()
        .filter(|byte| **byte == 0)
        .for_each(|byte| *byte = 0xE9);
    assert!(
        matches!(CountedClick::parse(&latin), Err(RecordError::Malformed(_))),
        "not UTF-8"
    );
}

#[test]
fn another_version_is_named_even_if_it_has_fields_that_are_not_known() {
    let line = line(&sample());
    for (spelling, version) in [
        ("{\"v\":2,", 2),
        ("{\"v\":2,\"new\":[1],", 2),
        ("{\"v\":70000,", 70_000),
        ("{\"v\":0,", 0),
    ] {
        let record = line.replace("{\"v\":1,", spelling);
        assert_eq!(
            CountedClick::parse(record.as_bytes()),
            Err(RecordError::UnknownVersion(version)),
            "{record}"
        );
        agree(record.as_bytes());
    }
}

#[test]
fn a_valid_click_that_nobody_could_claim_is_refused() {
    let record = ClickRecord {
        impression_id: None,
        claimed: false,
        ..sample()
    };
    assert_eq!(
        CountedClick::parse(line(&record).as_bytes()),
        Err(RecordError::NothingToClaim)
    );
    let spaced = line(&record).replace(':', ": ");
    assert_eq!(
        CountedClick::parse(spaced.as_bytes()),
        Err(RecordError::NothingToClaim)
    );
    for fine in [
        ClickRecord {
            claimed: true,
            ..record.clone()
        },
        ClickRecord {
            verdict: Verdict::Bot,
            ..record
        },
    ] {
        assert_eq!(
            CountedClick::parse(line(&fine).as_bytes()),
            Ok(CountedClick::from(&fine))
        );
    }
}

#[test]
fn text_is_plain_up_to_its_quote_wherever_that_stands() {
    for length in 0..40 {
        let mut bytes = vec![b'a'; length];
        bytes.push(b'"');
        bytes.extend([b'"'; 9]);
        for tail in [length + 1, bytes.len()] {
            assert_eq!(plain_text(&bytes[..tail]), Some(length));
        }
        assert_eq!(plain_text(&bytes[..length]), None, "never ended");
        for place in 0..length {
            for byte in 0..=255_u8 {
                let mut changed = bytes.clone();
                changed[place] = byte;
                let expected = match byte {
                    b'"' => Some(place),
                    b'\\' | 0..0x20 | 0x80.. => None,
                    _ => Some(length),
                };
                assert_eq!(plain_text(&changed), expected, "{byte:#x} at {place} of {length}");
            }
        }
    }
}

proptest! {
    #[test]
    fn our_own_lines_need_no_parser(record in record_of(plain_text_value(), 0..i64::MAX)) {
        let line = record.to_line().unwrap();
        prop_assert_eq!(plain::read(&line), Some(CountedClick::from(&record)));
        prop_assert_eq!(plain::read(line.trim_ascii_end()), Some(CountedClick::from(&record)));
        agree(&line);
    }

    #[test]
    fn records_with_any_text_are_read(record in record_of(text(), -1000..1000)) {
        prop_assert_eq!(by_serde(&record.to_line().unwrap()), Some(CountedClick::from(&record)));
        agree(&record.to_line().unwrap());
    }

    #[test]
    fn mutated_records_are_judged_as_the_parser_judges_them(
        record in record_of(text(), -1000..1000),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..4), 1..4),
        other in record_of(plain_text_value(), 0..1000),
    ) {
        let (mut line, other) = (record.to_line().unwrap(), other.to_line().unwrap());
        for (place, byte, kind) in changes {
            let place = place.index(line.len());
            match kind {
                0 => line[place] = byte,
                1 => line.insert(place, byte),
                2 => { line.remove(place); }
                // A splice: the head of one record and the tail of another.
                _ => { line.truncate(place); line.extend_from_slice(&other[place.min(other.len())..]); }
            }
            if line.is_empty() { break; }
        }
        agree(&line);
    }

    #[test]
    fn reordered_and_missing_fields_are_judged_as_the_parser_judges_them(
        record in record_of(plain_text_value(), 0..1000),
        kept in subsequence((0..19).collect::<Vec<usize>>(), 15..=19),
        swap in option::of((any::<proptest::sample::Index>(), any::<proptest::sample::Index>())),
    ) {
        let line = line(&record);
        let fields: Vec<&str> = line.trim_end().trim_matches(['{', '}']).split(',').collect();
        let mut fields: Vec<&str> = kept.into_iter().filter_map(|i| fields.get(i).copied()).collect();
        if let Some((a, b)) = swap {
            let (a, b) = (a.index(fields.len()), b.index(fields.len()));
            fields.swap(a, b);
        }
        agree(format!("{{{}}}\n", fields.join(",")).as_bytes());
    }

    #[test]
    fn garbage_is_judged_as_the_parser_judges_it(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        agree(&bytes);
    }
}
