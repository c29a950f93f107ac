use super::*;
use serde_json::Value;

const STAMP: &[u8] = b"@400000006b014e9d075bcd15 ";
const PLAIN: Style = Style { form: Form::Short, colours: Colours::None, text: Text::Raw };
const COLOURED: Style = Style { colours: Colours::Names, ..PLAIN };
const JSON: Style = Style { form: Form::Json, ..PLAIN };

fn line(text: &[u8]) -> Line<'_> {
    let time = Tai64N(Tai64::from_unix(1_795_243_987), 123_456_789);
    Line { time, stamp: STAMP, text, ..Line::default() }
}

fn shown(style: Style, zone: Zone, names: &[&str], lines: &[(usize, Line)]) -> String {
    let mut show = Show::new(style, zone, names.iter().map(|name| name.as_bytes().to_vec()).collect());
    lines.iter().for_each(|(service, line)| show.line(*service, *line));
    String::from_utf8_lossy(&show.output).into_owned()
}

/// An hour ahead of UTC.
const AHEAD: Zone = Zone::Local(|second| Some(Calendar { offset: 3600, ..utc(second + 3600)? }));

#[test]
fn text_has_local_time_and_the_names_where_there_are_several() {
    let lines = [(0, line(b"a")), (1, line(b"b\xff")), (0, Line { stamp: b"", ..line(b"c") })];
    let alone = shown(PLAIN, AHEAD, &["web"], &lines[..1]);
    assert_eq!(alone, "2026-11-21 07:53:07.123456789 a\n");
    assert_eq!(shown(PLAIN, Zone::Utc, &["web"], &lines[..1]), "2026-11-21 06:53:07.123456789Z a\n");
    let several = shown(PLAIN, AHEAD, &["web", "db"], &lines);
    let expected = "2026-11-21 07:53:07.123456789 web: a\n2026-11-21 07:53:07.123456789 db: b\u{fffd}\nweb: c\n";
    assert_eq!(several, expected);
    let coloured = shown(COLOURED, AHEAD, &["web", "db"], &lines[..1]);
    assert_eq!(coloured, "2026-11-21 07:53:07.123456789 \x1b[36mweb:\x1b[0m a\n");
}

#[test]
fn a_fraction_has_nine_digits() {
    for (second, nanos, expected) in [
        (0, 0, "00.000000000"),
        (59, 999_999_999, "59.999999999"),
        (7, 12_030_405, "07.012030405"),
        (60, 1, "60.000000001"),
    ] {
        assert_eq!(second_and_fraction(second, nanos), expected.as_bytes());
    }
}

#[test]
fn a_form_has_what_its_name_promises() {
    let lines = [(0, line(b"a")), (1, line(b"b")), (1, Line { stamp: b"", ..line(b"c") })];
    for (form, zone, expected) in [
        (
            Form::Iso,
            AHEAD,
            "2026-11-21T07:53:07.123456789+01:00 web: a\n2026-11-21T07:53:07.123456789+01:00 db: b\ndb: c\n",
        ),
        (Form::Iso, Zone::Utc, "2026-11-21T06:53:07.123456789Z web: a\n2026-11-21T06:53:07.123456789Z db: b\ndb: c\n"),
        (Form::Raw, AHEAD, "@400000006b014e9d075bcd15 a\n@400000006b014e9d075bcd15 b\nc\n"),
        (Form::Cat, AHEAD, "a\nb\nc\n"),
    ] {
        assert_eq!(
            shown(Style { form, ..COLOURED }, zone, &["web", "db"], &lines)
                .replace("\x1b[36m", "")
                .replace("\x1b[33m", "")
                .replace("\x1b[0m", ""),
            expected
        );
    }
}

#[test]
fn lines_around_a_match_look_different_and_gaps_are_seen() {
    let role = |role, gap, text| Line { role, gap, stamp: b"", ..line(text) };
    let lines = [
        (0, role(Role::Match, false, b"a")),
        (1, role(Role::Match, false, b"b")),
        (0, role(Role::Before, true, b"c")),
        (0, role(Role::Match, false, b"d")),
        (0, role(Role::After, false, b"e")),
    ];
    assert_eq!(shown(PLAIN, AHEAD, &["web", "db"], &lines), "web: a\ndb: b\nweb: --\nweb- c\nweb: d\nweb- e\n");
    assert_eq!(shown(PLAIN, AHEAD, &["web"], &lines), "a\nb\n--\nc\nd\ne\n");
    assert_eq!(shown(Style { form: Form::Cat, ..PLAIN }, AHEAD, &["web", "db"], &lines), "a\nb\n--\nc\nd\ne\n");
    let json = shown(JSON, AHEAD, &["web", "db"], &lines);
    let context: Vec<bool> = json.lines().map(|line| line.contains("\"context\":true")).collect();
    assert_eq!(context, [false, false, true, false, true]);
}

#[test]
fn numbers_of_lines_have_names_where_there_are_several() {
    for (style, names, expected) in [
        (PLAIN, &["web"][..], "3\n"),
        (PLAIN, &["web", "db"], "web: 3\ndb: 0\ntotal: 3\n"),
        (COLOURED, &["web", "db"], "\x1b[36mweb:\x1b[0m 3\n\x1b[33mdb:\x1b[0m 0\ntotal: 3\n"),
        (JSON, &["web"], "{\"service\":\"web\",\"count\":3}\n"),
    ] {
        let names_of = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut show = Show::new(style, Zone::Utc, names_of);
        names.iter().zip([3, 0]).enumerate().for_each(|(number, (_, lines))| show.count(number, lines));
        if names.len() > 1 {
            show.total(3);
        }
        assert_eq!(String::from_utf8_lossy(&show.output), expected);
    }
}

#[test]
fn what_commands_a_terminal_is_spelled_out_but_for_the_colours() {
    let lines = [(0, Line { stamp: b"", ..line("\x1b[2J\u{9b}1m gr\u{fc}n\x07".as_bytes()) })];
    let names = ["w\x1bb", "db"];
    for (style, expected) in [
        (Style { text: Text::Visible, ..PLAIN }, "w\\x1bb: \\x1b[2J\\u009b1m grün\\x07\n"),
        (Style { text: Text::Visible, ..COLOURED }, "\x1b[36mw\\x1bb:\x1b[0m \\x1b[2J\\u009b1m grün\\x07\n"),
        (PLAIN, "w\x1bb: \x1b[2J\u{9b}1m grün\x07\n"),
    ] {
        assert_eq!(shown(style, Zone::Utc, &names, &lines), expected);
    }
    let json = [Text::Visible, Text::Raw].map(|text| shown(Style { text, ..JSON }, Zone::Utc, &names, &lines));
    let values = json.each_ref().map(|json| serde_json::from_str::<Value>(json).unwrap());
    assert_eq!(values[0], values[1]);
    assert!(json[0].contains("\\u001b[2J\\u009b1m grün") && json[1].contains('\u{9b}'), "{json:?}");
}

#[test]
fn pieces_are_one_line_again_unless_another_comes_between() {
    let first = Line { ends: false, stamp: b"", ..line(b"a") };
    let middle = Line { begins: false, ..first };
    let last = Line { begins: false, stamp: b"", ..line(b"b") };
    let table: [(&[_], _); 2] = [
        (&[(0, first), (0, middle), (0, last)], "web: aab\n"),
        (&[(0, first), (1, Line { stamp: b"", ..line(b"x") }), (0, last)], "web: a\ndb: x\nb\n"),
    ];
    for (lines, expected) in table {
        assert_eq!(shown(PLAIN, Zone::Utc, &["web", "db"], lines), expected);
    }
}

#[test]
fn json_is_an_object_a_line_and_keeps_every_byte() {
    let table: [(Line, &str); 4] = [
        (line(b"a \"b\"\t\0"), r#""text":"a \"b\"\t\u0000""#),
        (line(b"\xff"), r#""base64":"/w==""#),
        (Line { stamp: b"", ..line(b"") }, r#""stamped":false"#),
        (Line { begins: false, ..line(b"") }, r#""continued":true"#),
    ];
    for (line, expected) in table {
        let text = shown(JSON, Zone::Utc, &["web"], &[(0, line)]);
        assert!(text.contains(expected) && text.ends_with("}\n"), "{text}");
        let object: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&object["time"], &object["service"]), (&"2026-11-21T06:53:07.123456789Z".into(), &"web".into()));
    }
    let local = shown(JSON, AHEAD, &["web"], &[(0, line(b""))]);
    assert!(local.contains("2026-11-21T07:53:07.123456789+01:00"), "{local}");
}

/// Clocks that are put forward by an hour and half a minute in the middle of a minute, and have leap seconds.
fn odd(second: i64) -> Option<Calendar> {
    let offset = if second < 1_795_244_010 { 0 } else { 3630 };
    Some(Calendar { offset, ..utc(second + offset - 27)? })
}

#[test]
fn every_second_is_shown_as_the_calendar_has_it_whichever_was_shown_before() {
    for zone in [Zone::Utc, AHEAD, Zone::Local(odd)] {
        let label = |second| Line { time: Tai64N(Tai64::from_unix(second), 5), ..line(b"") };
        let seconds = (1_795_243_900..1_795_244_200).chain((1_795_243_900..1_795_244_200).rev().step_by(7));
        let lines: Vec<_> = seconds.map(|second| (0, label(second))).collect();
        let alone: String = lines.iter().map(|line| shown(JSON, zone, &["w"], &[*line])).collect();
        assert_eq!(shown(JSON, zone, &["w"], &lines), alone);
        let Zone::Local(local) = zone else { continue };
        let shown = shown(PLAIN, zone, &["w"], &lines);
        for (text, (_, line)) in shown.lines().zip(&lines) {
            let expected = local(line.time.0.to_unix()).unwrap().date_and_time(' ');
            assert_eq!(text, format!("{expected}.000000005 "));
        }
    }
}

#[test]
fn a_time_beyond_all_calendars_is_a_label() {
    let late = Line { time: Tai64N(Tai64((1 << 63) - 1), 0), ..line(b"x") };
    assert_eq!(shown(PLAIN, Zone::Utc, &["w"], &[(0, late)]), "@7fffffffffffffff00000000 x\n");
    assert!(shown(JSON, Zone::Utc, &["w"], &[(0, late)]).contains("@7fffffffffffffff00000000"));
}

#[test]
fn the_parts_of_a_bar_are_as_long_as_the_bar() {
    let letters = |count: usize| Letters((0..count).zip('a'..).collect());
    let shares = |counts: &[u64]| counts.iter().copied().enumerate().collect::<Shares>();
    for (counts, length, parts) in [
        (&[1][..], 50, &[50][..]),
        (&[1, 1], 50, &[25, 25]),
        (&[1, 1, 1], 50, &[17, 16, 17]),
        (&[999, 1], 50, &[50, 0]),
        (&[2, 1], 1, &[1, 0]),
        (&[u64::MAX, u64::MAX], 50, &[25, 25]),
        (&[0, 0], 50, &[0, 0]),
        (&[], 0, &[]),
    ] {
        let found: Vec<usize> =
            letters(counts.len()).parts(&shares(counts), length).into_iter().map(|(_, part)| part).collect();
        assert_eq!(found, parts, "{counts:?}");
    }
    // They stand in the order of the letters, and those without one are the last.
    let letters = Letters(BTreeMap::from([(2, 'a'), (0, 'b')]));
    assert_eq!(letters.parts(&shares(&[1, 1, 2]), 8), [(2, 4), (0, 2), (1, 2)]);
    assert_eq!(Letters::default().parts(&shares(&[1, 1, 2]), 8), []);
}
