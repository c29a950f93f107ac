use crate::input::Input;
use multilog::check::check;
use multilog::script::{Action, Script};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The arguments in `data`, each ended by a NUL.
fn arguments(data: &[u8]) -> Vec<OsString> {
    let mut input = Input(data);
    std::iter::from_fn(|| input.has_more().then(|| OsStr::from_bytes(input.piece()).into())).collect()
}

/// Any arguments form a script. Its settings are within their ranges, each directory is written to once and in its
/// order, and a later word never changes the meaning of an earlier one.
pub fn in_range(data: &[u8]) {
    let arguments = arguments(data);
    let script = Script::parse(arguments.clone().into_iter());
    // A user who writes a unit knows that the limit may exceed the original's.
    let has_unit = |argument: &OsString| matches!(argument.as_bytes(), [b's', .., b'k' | b'M' | b'G']);
    let largest = if arguments.iter().any(has_unit) { u64::MAX } else { 16_777_215 };
    for directory in &script.directories {
        assert!((4096..=largest).contains(&directory.size) && directory.count >= 2);
        assert!(directory.processor.as_ref().is_none_or(|command| !command.is_empty()));
    }
    let named = |argument: &&OsString| argument.as_bytes().first().is_some_and(|letter| b"./".contains(letter));
    let named: Vec<_> = arguments.iter().filter(named).collect();
    assert_eq!(script.directories.iter().map(|directory| &directory.path).collect::<Vec<_>>(), named);
    let written = script.actions.iter().filter_map(|action| match action {
        Action::Log(number) => Some(*number),
        _ => None,
    });
    assert!(written.eq(0..named.len()));
    let report = check(&arguments);
    assert_eq!(report.lines.len(), arguments.len());
    assert!(script.complaints.is_empty() || !report.warnings.is_empty());
    let mut lines = report.lines.iter().chain(&report.warnings);
    assert!(lines.all(|line| !line.contains(char::is_control)), "{report:?}");
    if let Some((_, before)) = arguments.split_last() {
        let before = Script::parse(before.iter().cloned());
        assert!(script.actions.starts_with(&before.actions));
        assert!(script.directories.starts_with(&before.directories));
    }
}
