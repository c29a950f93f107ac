use super::*;
use jiff::Timestamp;
use jiff::tz::TimeZone;

fn parsed(line: &str, output: Output) -> Result<Request, i32> {
    let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    let local = |second| Timestamp::from_second(second).ok().map(|moment| TimeZone::UTC.to_datetime(moment));
    let clock = Clock { now: "2026-11-21T08:00:00Z".parse().unwrap(), local };
    parse(args.into_iter(), &clock, output).map_err(|fatal| fatal.print())
}

#[test]
fn following_begins_with_the_last_lines_unless_told_otherwise() {
    for (line, expected) in [
        ("web", Amount::All),
        ("-f web", Amount::Last(10)),
        ("-f -n all web", Amount::All),
        ("-fn3 web", Amount::Last(3)),
        ("-n 0 web", Amount::Last(0)),
        ("--since 1h -f web", Amount::All),
        ("--lines=7 --since 1h -f web", Amount::Last(7)),
        ("--head 3 web", Amount::First(3)),
        ("-f --cursor-file c web", Amount::All),
        ("-f --head=0 web", Amount::First(0)),
        ("--count --since 1h web", Amount::Count),
    ] {
        assert_eq!(parsed(line, Output::Other).unwrap().amount, expected, "{line}");
    }
}

#[test]
fn colours_are_for_terminals_unless_told_otherwise() {
    for (line, output, expected) in [
        ("web", Output::ColouredTerminal, Colours::NamesAndMatches),
        ("--raw web", Output::ColouredTerminal, Colours::Names),
        ("--raw --color -o iso web", Output::Other, Colours::Names),
        ("-o raw --color web", Output::ColouredTerminal, Colours::None),
        ("--json --color web", Output::ColouredTerminal, Colours::None),
        ("-o cat web", Output::ColouredTerminal, Colours::NamesAndMatches),
        ("web", Output::Terminal, Colours::None),
        ("web", Output::Other, Colours::None),
        ("--color web", Output::Other, Colours::NamesAndMatches),
        ("--color=always web", Output::Other, Colours::NamesAndMatches),
        ("--color=auto web", Output::Other, Colours::None),
        ("--color=never web", Output::ColouredTerminal, Colours::None),
    ] {
        assert_eq!(parsed(line, output).unwrap().style.colours, expected, "{line}");
    }
}

#[test]
fn lines_on_one_side_are_told_apart_from_lines_around_whichever_comes_first() {
    for (line, before, after) in [
        ("web", 0, 0),
        ("-C 2 web", 2, 2),
        ("-A1 -B2 web", 2, 1),
        ("-C 3 -A 1 web", 3, 1),
        ("-B 0 --context=3 web", 0, 3),
        ("--after-context 1 --before-context=2 web", 2, 1),
    ] {
        assert_eq!(parsed(line, Output::Other).unwrap().selection.around, Around { before, after }, "{line}");
    }
}

#[test]
fn a_form_has_a_name() {
    for (line, expected) in [
        ("web", Form::Short),
        ("--json web", Form::Json),
        ("-o json --json web", Form::Json),
        ("-oiso web", Form::Iso),
        ("-o raw --output=cat web", Form::Cat),
        ("-o raw web", Form::Raw),
        ("-o short web", Form::Short),
    ] {
        assert_eq!(parsed(line, Output::ColouredTerminal).unwrap().style.form, expected, "{line}");
    }
}

#[test]
fn bytes_are_as_they_are_but_on_a_terminal() {
    for (line, output, expected) in [
        ("web", Output::ColouredTerminal, Text::Visible),
        ("--json web", Output::Terminal, Text::Visible),
        ("--raw web", Output::Terminal, Text::Raw),
        ("web", Output::Other, Text::Raw),
        ("--color web", Output::Other, Text::Raw),
    ] {
        assert_eq!(parsed(line, output).unwrap().style.text, expected, "{line}");
    }
}

#[test]
fn bad_usage_exits_100() {
    for line in [
        "",
        "-f",
        "-x web",
        "-n",
        "-n -1 web",
        "-n few web",
        "--head all web",
        "--head -1 web",
        "--head 1 -n 1 web",
        "-n all --head 1 web",
        "--count -f web",
        "--count -C 1 web",
        "-A few web",
        "--field status web",
        "--field =5 web",
        "--level loud web",
        "-B -1 web",
        "--since soon web",
        "--until= web",
        "--grep ( web",
        "--grep a --not ( web",
        "--not",
        "--color=red web",
        "--json=yes web",
        "-o verbose web",
        "-o",
        "--json -o cat web",
    ] {
        assert_eq!(parsed(line, Output::Other).map(|_| ()), Err(100), "{line}");
    }
}

#[test]
fn times_for_which_there_can_be_no_lines_are_doubted() {
    for (line, expected) in [
        ("web", vec![]),
        ("--since 06:53 --until 07:00 web", vec![]),
        ("--since 3h --until 2h web", vec![]),
        ("--since 23:00 web", vec!["--since 23:00 has not come yet: yesterday's is \"2026-11-20 23:00\""]),
        ("--until 23:00 web", vec![]),
        ("--since 2h --until 3h web", vec!["--since 2h is later than --until 3h, so there can be no lines"]),
    ] {
        assert_eq!(parsed(line, Output::Other).unwrap().doubts, expected, "{line}");
    }
}

#[test]
fn letters_of_other_tools_are_told_what_is_here_instead() {
    for (letter, instead) in LETTERS {
        let Refusal::Value(words) = unknown(letter) else { panic!("{letter}") };
        assert_eq!(words, format!("svlog has no -{letter}: use {instead}"));
        assert_eq!(parsed(&format!("-{letter} x web"), Output::Other).err(), Some(100));
    }
    assert!(matches!(unknown('z'), Refusal::Option(_)));
}
