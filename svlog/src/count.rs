//! How many lines of each log are asked for.

use crate::arguments::Request;
use crate::course::Mode;
use crate::last::Memory;
use crate::logs::Logs;
use crate::output;
use crate::show::Show;
use crate::source::{Next, Source};
use daemontools::{Fatal, report};

/// Counts the lines of each log, and shows their numbers and, if there are several logs, the number of all lines.
/// Returns the exit code.
///
/// # Errors
/// The output cannot be written.
pub fn count(request: &Request, logs: &Logs, mut show: Show) -> Result<i32, Fatal> {
    let memory = Memory::for_each_of(1);
    let (mut total, mut code) = (0, 0);
    for (number, (folder, selection)) in logs.with_selections(request).enumerate() {
        let mut source = Source::new(folder, selection, Mode::Once, memory.room);
        let mut lines: u64 = 0;
        while let Next::Line(_) = source.next() {
            lines += u64::from(source.line().is_some_and(|line| line.begins));
            source.take();
        }
        if source.failed {
            code = report::TEMPORARY;
        }
        total += lines;
        show.count(number, lines);
    }
    if logs.folders.len() > 1 {
        show.total(total);
    }
    output::write(&show.output)?;
    Ok(code)
}
