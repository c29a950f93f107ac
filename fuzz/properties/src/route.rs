use crate::input::Input;
use daemontools::tai64::{Moment, Tai64, Tai64N};
use multilog::router::{Input as More, Line, Output, Router, is_full};
use multilog::script::Script;
use multilog::steps::SideOutput;
use multilog::syslog::Identity;
use std::ffi::OsString;

/// Feeds lines in pieces to multilog's router with one directory. However the input is cut and the files are limited,
/// the selected lines come out unchanged, with a stamp in front of each line, in files that are not too long.
pub fn bytes_unchanged(data: &[u8]) {
    let mut input = Input(data);
    let (stamp, limit) = (input.byte() % 2 == 1, 2100 + input.number() as u64 % 8000);
    let way = input.byte() % 3;
    let mut arguments = vec![if stamp { "t" } else { "s4096" }];
    arguments.extend(match way {
        0 => &["./d"][..],
        1 => &["-\u{1}*", "./d"],
        _ => &["-*", "+*", "./d"],
    });
    let mut pieces = Vec::new();
    while input.has_more() {
        // The input is repeated, so that even a short one reaches what only long lines reach.
        let times = 1 + input.number() % 700;
        pieces.push(input.piece().repeat(times));
    }
    let selected = |line: &&[u8]| way != 1 || stamp || !line.starts_with(b"\x01");
    let whole = pieces.concat();
    let expected: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').filter(selected).collect();
    let files = routed(&arguments, &pieces, limit);
    for file in &files {
        assert!(file.len() as u64 <= limit + 1000, "{} of {limit}", file.len());
    }
    let shown = files.concat();
    let shown: Vec<&[u8]> = shown.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(shown.len(), expected.len());
    for (shown, line) in shown.into_iter().zip(expected) {
        let text = if stamp { shown.get(26..).unwrap_or_default() } else { shown };
        assert!(!stamp || daemontools::tai64::parse(&shown[..25]).is_some() && shown[25] == b' ');
        assert_eq!(text.strip_suffix(b"\n"), Some(line.strip_suffix(b"\n").unwrap_or(line)));
    }
}

/// The contents of the files in the only directory.
fn routed(arguments: &[&str], pieces: &[Vec<u8>], limit: u64) -> Vec<Vec<u8>> {
    let script = Script::parse(arguments.iter().map(OsString::from));
    let mut router = Router::new(&script, &Identity::default());
    router.batch(Moment { label: Tai64N(Tai64(0x4000_0000_0000_000a), 0), ..Moment::ZERO });
    let mut outputs = [Output { limit, ..Output::default() }];
    let (mut files, mut data, mut side) = (Vec::new(), Vec::new(), SideOutput::default());
    for (index, piece) in pieces.iter().enumerate() {
        data.extend_from_slice(piece);
        let more = if index + 1 == pieces.len() { More::Ended } else { More::Open };
        loop {
            let plain = router.plain_part(&data, &outputs);
            let taken = match plain {
                Some(plain) => {
                    outputs[0].pending.extend_from_slice(&data[..plain]);
                    outputs[0].size += plain as u64;
                    plain
                }
                None => router.take(&data, more, &mut outputs, &mut side),
            };
            data.drain(..taken);
            if is_full(outputs[0].size, limit, router.line) {
                files.push(std::mem::take(&mut outputs[0].pending));
                outputs[0].size = 0;
            } else if taken == 0 {
                break;
            }
        }
    }
    assert!(data.is_empty());
    router.end_line(&mut outputs, &mut side);
    router.end(&mut outputs, &mut side);
    assert_eq!(router.line, Line::Fresh);
    files.push(std::mem::take(&mut outputs[0].pending));
    files
}
