//! The cases of the screen.

use super::*;
use Key::*;

/// A service that is so.
pub fn entry(name: &str, mark: Mark) -> Entry {
    let state = match mark {
        Mark::Up => "up",
        Mark::Moving => "restarting",
        Mark::Paused => "paused",
        Mark::Failed => "failed",
        Mark::Down => "down",
        Mark::Unknown => "unsupervised",
    };
    Entry {
        name: name.into(),
        mark,
        state,
        is_as_wanted: matches!(mark, Mark::Up | Mark::Down),
        is_logger: false,
        pid: (mark == Mark::Up).then_some(4711),
        since: Some(Duration::from_secs(100)),
        starts: Some(1),
        deaths: Some(0),
        reason: None,
        figures: Figures::default(),
    }
}

/// Five services, on a terminal of this size.
pub fn screen(rows: usize, columns: usize) -> Screen {
    let mut screen = Screen::new("/service".into(), Size { rows, columns });
    for (name, mark) in
        [("web", Mark::Up), ("crash", Mark::Moving), ("gaveup", Mark::Failed), ("off", Mark::Down), ("db", Mark::Up)]
    {
        screen.put(name.into(), entry(name, mark));
    }
    screen
}

fn names(screen: &Screen) -> String {
    screen.rows().iter().map(|(_, entry)| entry.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn selected(screen: &Screen) -> String {
    let rows = screen.rows();
    rows.get(screen.window(&rows).0).map(|(_, entry)| entry.name.clone()).unwrap_or_default()
}

fn press(screen: &mut Screen, keys: &[Key]) -> Wish {
    keys.iter().fold(Wish::Nothing, |_, key| screen.press(*key))
}

#[test]
fn what_needs_a_look_comes_first() {
    let mut screen = screen(10, 80);
    assert_eq!(names(&screen), "gaveup crash db web off");
    let unready = Entry { is_as_wanted: false, ..entry("web", Mark::Up) };
    screen.put("web".into(), unready);
    screen.put("gone".into(), entry("gone", Mark::Unknown));
    screen.put("held".into(), entry("held", Mark::Paused));
    assert_eq!(names(&screen), "gaveup gone crash held web db off");
    screen.remove(OsStr::new("gaveup"));
    assert_eq!(names(&screen), "gone crash held web db off");
}

#[test]
fn each_order_follows_the_one_before() {
    let mut screen = screen(10, 80);
    let figures = |cpu, memory| Figures { cpu: Some(cpu), memory: Some(memory), last_line: None };
    screen.measure(OsStr::new("web"), figures(500, 10));
    screen.measure(OsStr::new("db"), figures(20, 9000));
    screen.put("off".into(), Entry { deaths: Some(7), ..entry("off", Mark::Down) });
    screen.put("crash".into(), Entry { since: Some(Duration::from_secs(200)), ..entry("crash", Mark::Moving) });
    for (word, expected) in [
        ("name", "crash db gaveup off web"),
        ("CPU", "web db crash gaveup off"),
        ("memory", "db web crash gaveup off"),
        ("deaths", "off crash db gaveup web"),
        ("change", "crash db gaveup off web"),
        ("state", "gaveup crash db web off"),
    ] {
        assert_eq!(press(&mut screen, &[Char('s')]), Wish::Nothing);
        assert_eq!((screen.order.word(), names(&screen).as_str()), (word, expected));
    }
}

#[test]
fn keys_select_a_service() {
    for (keys, expected) in [
        (&[][..], "gaveup"),
        (&[Down], "crash"),
        (&[Char('j'), Char('j'), Up], "crash"),
        (&[Char('k')], "gaveup"),
        (&[End], "off"),
        (&[Char('G'), Down], "off"),
        (&[Char('G'), Home], "gaveup"),
        (&[Char('G'), Char('g')], "gaveup"),
        // The window has two rows of services.
        (&[PageDown], "db"),
        (&[Char(' '), PageDown], "off"),
        (&[End, PageUp], "db"),
        (&[Char('x')], "gaveup"),
    ] {
        let mut screen = screen(5, 80);
        assert_eq!(press(&mut screen, keys), Wish::Nothing, "{keys:?}");
        assert_eq!(selected(&screen), expected, "{keys:?}");
    }
}

#[test]
fn the_selected_service_stays_selected_and_in_sight() {
    let mut screen = screen(5, 80);
    press(&mut screen, &[End]);
    for keys in [&[Char('s')][..], &[Char('s')], &[Char('s'), Char('s')], &[Char('/'), Char('f'), Enter]] {
        press(&mut screen, keys);
        assert_eq!(selected(&screen), "off", "{keys:?}");
        let rows = screen.rows();
        let (selected, first) = screen.window(&rows);
        assert!((first..first + 2).contains(&selected), "{keys:?}: {selected} {first}");
    }
    // Once it is gone, or not shown, the first one is.
    press(&mut screen, &[Escape, Char('/'), Char('w')]);
    assert_eq!(selected(&screen), "web");
    screen.remove(OsStr::new("off"));
    press(&mut screen, &[Escape]);
    screen.order = Order::State;
    assert_eq!(selected(&screen), "gaveup");
}

#[test]
fn one_row_after_the_other_comes_into_sight() {
    let mut screen = screen(5, 80);
    let mut firsts = vec![];
    for key in [Down, Down, Down, Up, Up, Up] {
        press(&mut screen, &[key]);
        firsts.push(screen.window(&screen.rows()).1);
    }
    assert_eq!(firsts, [0, 1, 2, 2, 1, 0]);
}

#[test]
fn a_filter_is_typed_and_kept_or_not() {
    for (keys, filter, expected) in [
        (&[Char('/'), Char('b')][..], "b", "db web"),
        (&[Char('/'), Char('W'), Char('q'), Backspace, Char('e'), Enter], "We", "web"),
        (&[Char('/'), Char('b'), Escape], "", "gaveup crash db web off"),
        (&[Char('/'), Char('b'), Enter, Char('/'), Char('x'), Escape], "b", "db web"),
        (&[Char('/'), Char('b'), Enter, Escape], "", "gaveup crash db web off"),
        (&[Char('/'), Char('b'), Clear, Char('o')], "o", "off"),
        (&[Char('/'), Char('?')], "?", ""),
        (&[Char('/'), Backspace, Down], "", "gaveup crash db web off"),
    ] {
        let mut screen = screen(10, 80);
        assert_eq!(press(&mut screen, keys), Wish::Nothing, "{keys:?}");
        assert_eq!((screen.filter.as_str(), names(&screen).as_str()), (filter, expected), "{keys:?}");
    }
}

#[test]
fn keys_end_the_program_and_ask_for_more() {
    for (keys, wish) in [
        (&[Char('q')][..], Wish::Quit),
        (&[Redraw], Wish::Redraw),
        (&[Char('/'), Char('q')], Wish::Nothing),
        (&[Char('/'), Redraw], Wish::Redraw),
        (&[Down, Enter], Wish::Status("crash".into())),
        (&[Char('/'), Char('?'), Enter, Enter], Wish::Nothing),
        (&[Clear], Wish::Nothing),
    ] {
        assert_eq!(press(&mut screen(10, 80), keys), wish, "{keys:?}");
    }
    // A redraw changes nothing else.
    let mut screen = screen(10, 80);
    press(&mut screen, &[Char('/'), Char('a'), Redraw]);
    assert_eq!(screen.mode, Mode::Filter(String::new()));
}

#[test]
fn the_lines_of_a_status_are_gone_through() {
    let lines = |count: usize| (0..count).map(|line| line.to_string()).collect::<Vec<_>>();
    for (keys, from) in [
        (&[][..], Some(0)),
        (&[Down, Down, Up], Some(1)),
        (&[End], Some(7)),
        (&[PageDown], Some(3)),
        (&[PageDown, PageDown, PageDown], Some(7)),
        (&[End, Home], Some(0)),
        (&[Char('x'), Redraw], Some(0)),
        (&[Char('q')], None),
        (&[Escape], None),
        (&[Enter], None),
        (&[Backspace], None),
    ] {
        // A title and a line of help leave three lines.
        let mut screen = screen(5, 80);
        screen.show_status("web".into(), lines(10));
        press(&mut screen, keys);
        let shown = match &screen.mode {
            Mode::Status(_, _, from) => Some(*from),
            Mode::Table | Mode::Filter(_) => None,
        };
        assert_eq!(shown, from, "{keys:?}");
    }
    let mut screen = screen(5, 80);
    screen.show_status("web".into(), lines(10));
    press(&mut screen, &[Down, Down, Down, Down]);
    // What is found out anew may be shorter, and that about another service begins at its beginning.
    for (name, count, from) in [("web", 12, 4), ("web", 5, 2), ("db", 10, 0)] {
        screen.show_status(name.into(), lines(count));
        assert!(matches!(&screen.mode, Mode::Status(_, _, shown) if *shown == from), "{:?}", screen.mode);
    }
}

#[test]
fn figures_are_kept_for_the_same_process() {
    let mut screen = screen(10, 80);
    let figures = Figures { cpu: Some(5), memory: Some(6), last_line: Some("x".into()) };
    screen.measure(OsStr::new("web"), figures.clone());
    screen.put("web".into(), entry("web", Mark::Up));
    let measured = |screen: &Screen| screen.all().find(|(name, _)| *name == "web").unwrap().1.figures.clone();
    assert_eq!(measured(&screen), figures);
    screen.put("web".into(), Entry { pid: Some(4712), ..entry("web", Mark::Up) });
    assert_eq!(measured(&screen), Figures::default());
}

#[test]
fn no_size_is_too_small() {
    for rows in 0..8 {
        let mut screen = screen(rows, 80);
        assert!(screen.size.body() <= rows);
        press(&mut screen, &[Down, PageDown, Up, End, Home]);
        screen.show_status("web".into(), vec!["a".into()]);
        press(&mut screen, &[Down, PageDown]);
    }
}
