use super::Event::{AtEnd, Cut, MoreCame, MultilogStarted, Read, WentOn};
use super::*;

const THERE: Event = AtEnd(Name::ThisFile);
const RENAMED: Event = AtEnd(Name::Another);
const CUT: Event = Cut { length: 7, unshown: 0, name: Name::ThisFile };

/// What svlog does about these events, one after the other.
fn steps(events: &[Event]) -> Vec<Step> {
    let mut restart = Restart::new();
    events.iter().map(|event| restart.step(*event)).collect()
}

#[test]
fn a_multilog_that_goes_on_after_a_killed_one_writes_the_same_lines_and_they_are_not_shown_twice() {
    // It has cut, and has not written yet; then it has written as much as there was, then more.
    let events = [THERE, MultilogStarted, CUT, THERE, Read(Now::Restamped), MoreCame, THERE];
    let expected =
        [Step::AllShown, Step::GoOn, Step::Wait, Step::AllShown, Step::TakeStamps, Step::GoOn, Step::AllShown];
    assert_eq!(steps(&events), expected);
}

#[test]
fn what_changes_before_the_start_of_a_multilog_is_told_is_looked_at_once_more() {
    let events = [CUT, MultilogStarted, CUT];
    assert_eq!(steps(&events), [Step::Recheck, Step::GoOn, Step::Wait]);
    let events = [Read(Now::Restamped), MultilogStarted, Read(Now::Restamped)];
    assert_eq!(steps(&events), [Step::Recheck, Step::GoOn, Step::TakeStamps]);
}

#[test]
fn what_no_multilog_has_done_lets_the_file_be_read_from_its_start() {
    for event in [CUT, Read(Now::Restamped), Read(Now::Other)] {
        assert_eq!(
            steps(&[event, event, event, event]),
            [Step::Recheck, Step::FromStart, Step::Recheck, Step::FromStart]
        );
    }
    // Once a multilog has written behind its cut, it cuts no more.
    let events = [MultilogStarted, THERE, MoreCame, CUT, CUT];
    assert_eq!(steps(&events)[3..], [Step::Recheck, Step::FromStart]);
    // Nor does a multilog that was started write other lines.
    assert_eq!(steps(&[MultilogStarted, Read(Now::Other), Read(Now::Other)])[1..], [Step::Recheck, Step::FromStart]);
}

#[test]
fn the_beginning_of_a_line_that_was_not_shown_is_taken_back() {
    for (length, unshown, expected) in [(3, 3, Step::TakeBack(3)), (0, 0, Step::TakeBack(0)), (4, 3, Step::Recheck)] {
        assert_eq!(steps(&[Cut { length, unshown, name: Name::ThisFile }]), [expected]);
    }
}

#[test]
fn a_file_that_was_renamed_is_looked_at_a_last_time() {
    let events = [RENAMED, MoreCame, RENAMED, WentOn, RENAMED];
    let expected = [Step::LookOnce, Step::GoOn, Step::NextFile, Step::GoOn, Step::LookOnce];
    assert_eq!(steps(&events), expected);
    // Renamed by a multilog that had cut it: the bytes come in the next file.
    assert_eq!(
        steps(&[MultilogStarted, Cut { length: 7, unshown: 0, name: Name::Another }])[1],
        Step::NextFileAfter(7)
    );
}

#[test]
fn every_event_in_every_state() {
    let table = table();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/restart/table.txt");
    if std::env::var_os("UPDATE").is_some() {
        assert!(std::env::var_os("CI").is_none(), "with CI set no file is updated");
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(table, std::fs::read_to_string(path).unwrap());
}

const LEGEND: &str = "\
Every event (down) in every state (across): what svlog does, and which part of the state changes. A state is what is
known of a multilog that was started, ? where bytes are in doubt, ! where the next look at the end is the last one.
";

fn table() -> String {
    let mut text = format!("{LEGEND}\n{:<22}", "");
    states().for_each(|state| text.push_str(&format!("| {:<26}", name(state))));
    for (event_name, event) in events() {
        text = format!("{}\n{event_name:<22}", text.trim_end());
        for state in states() {
            let mut after = state;
            let step = after.step(event);
            let to = if after == state { String::new() } else { format!(" >{}", name(after)) };
            text.push_str(&format!("| {:<26}", format!("{step:?}{to}")));
        }
    }
    format!("{}\n", text.trim_end())
}

fn states() -> impl Iterator<Item = Restart> {
    let multilogs = [Multilog::Settled, Multilog::Started, Multilog::Reached];
    let looks = [Look::Usual, Look::Last];
    let rechecks = [Recheck::None, Recheck::Pending];
    let with = move |look| rechecks.into_iter().map(move |recheck| (look, recheck));
    let all = looks.into_iter().flat_map(with);
    all.flat_map(move |(look, recheck)| multilogs.into_iter().map(move |multilog| Restart { multilog, recheck, look }))
}

fn name(state: Restart) -> String {
    let multilog = match state.multilog {
        Multilog::Settled => "settled",
        Multilog::Started => "started",
        Multilog::Reached => "reached",
    };
    let recheck = if state.recheck == Recheck::None { "" } else { "?" };
    let look = if state.look == Look::Usual { "" } else { "!" };
    format!("{multilog}{recheck}{look}")
}

fn events() -> [(&'static str, Event); 12] {
    let cut = |length, name| Cut { length, unshown: 5, name };
    [
        ("a multilog starts", MultilogStarted),
        ("read: the same", Read(Now::Same)),
        ("read: other stamps", Read(Now::Restamped)),
        ("read: other bytes", Read(Now::Other)),
        ("more came", MoreCame),
        ("at the end", THERE),
        ("at the end, renamed", RENAMED),
        ("cut, not shown", cut(5, Name::ThisFile)),
        ("cut, not shown, ren.", cut(5, Name::Another)),
        ("cut", cut(6, Name::ThisFile)),
        ("cut, renamed", cut(6, Name::Another)),
        ("went on", WentOn),
    ]
}
