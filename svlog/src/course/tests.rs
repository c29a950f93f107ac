use super::*;

#[test]
fn a_line_without_an_end_is_shown_last_or_left_to_another_svlog() {
    let stages = |has_whole_lines| {
        let mut course = Course { has_whole_lines, ..Course::new(Mode::Once) };
        [Event::More, Event::Over, Event::More, Event::Over].map(|event| {
            course.step(event);
            course.stage()
        })
    };
    assert_eq!(stages(false), [Stage::Reading, Stage::Ending, Stage::Ending, Stage::Done]);
    assert_eq!(stages(true), [Stage::Reading, Stage::Done, Stage::Done, Stage::Done]);
}

#[test]
fn every_event_in_every_state() {
    let table = table();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/course/table.txt");
    if std::env::var_os("UPDATE").is_some() {
        assert!(std::env::var_os("CI").is_none(), "with CI set no file is updated");
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(table, std::fs::read_to_string(path).unwrap());
}

const LEGEND: &str = "\
Every event (down) in every state (across): what svlog does, and the stage that follows. -f: svlog follows the log.
whole: a line without an end is left to another svlog.
";

fn table() -> String {
    let mut text = format!("{LEGEND}\n{:<28}", "");
    states().for_each(|state| text.push_str(&format!("| {:<18}", name(state))));
    for (event_name, event) in events() {
        text = format!("{}\n{event_name:<28}", text.trim_end());
        for state in states() {
            let mut after = state;
            let step = after.step(event);
            let to = if after == state { String::new() } else { format!(" >{:?}", after.stage) };
            text.push_str(&format!("| {:<18}", format!("{step:?}{to}")));
        }
    }
    format!("{}\n", text.trim_end())
}

fn states() -> impl Iterator<Item = Course> {
    let modes = [Mode::Once, Mode::Follow].into_iter();
    let wholes = move |mode| [false, true].map(|whole| (mode, whole));
    modes.flat_map(wholes).flat_map(|(mode, has_whole_lines)| {
        // If a line without an end is left to another svlog, nothing ends with one.
        let stages = [Stage::Reading, Stage::Ending, Stage::Done].into_iter();
        let stages = stages.filter(move |stage| !(has_whole_lines && *stage == Stage::Ending));
        stages.map(move |stage| Course { mode, has_whole_lines, stage })
    })
}

fn name(Course { mode, has_whole_lines, stage }: Course) -> String {
    let mode = if mode == Mode::Once { "" } else { " -f" };
    let whole = if has_whole_lines { " whole" } else { "" };
    format!("{stage:?}{mode}{whole}")
}

fn events() -> [(&'static str, Event); 15] {
    [
        ("more", Event::More),
        ("nothing", Event::Nothing),
        ("nothing but what is foreign", Event::NothingButForeign),
        ("in doubt", Event::InDoubt),
        ("over", Event::Over),
        ("end of a full file", Event::EndOf(Kind::Full)),
        ("end of the last in time", Event::EndOf(Kind::Last)),
        ("end of current", Event::EndOf(Kind::Current)),
        ("next file", Event::Looked(Relation::Other, true)),
        ("next file, a copy", Event::Looked(Relation::Copy, true)),
        ("next file, the last is gone", Event::Looked(Relation::Gone, true)),
        ("no next file", Event::Looked(Relation::Other, false)),
        ("no next file, a copy", Event::Looked(Relation::Copy, false)),
        ("no next file, it is gone", Event::Looked(Relation::Gone, false)),
        ("the directory is unreadable", Event::NotLooked),
    ]
}
