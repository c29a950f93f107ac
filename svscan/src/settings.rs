//! The settings of svscan, which are files in `.svscan/`. What cannot be read is said, and has no effect.

use crate::diagnostics::{Diagnostics, Subject};
use crate::probe::Probe;
use crate::table::OnRemove;
use daemontools::Unable;
use daemontools::service::Unread;
use std::num::NonZeroUsize;
use std::path::Path;

/// What is done when an entry is removed.
const ON_REMOVE: &str = ".svscan/on-remove";
/// How many services may start at a time.
const STARTS_AT_A_TIME: &str = ".svscan/starts-at-a-time";
/// The file whose presence has lines of services without a logger forwarded.
const FORWARD: &str = ".svscan/forward";

/// How much of a text that makes no sense is shown, in bytes.
const SHOWN: usize = 40;

/// What is done with services whose entry is removed; `None` if that cannot be read.
pub fn on_remove(probe: &mut Probe, diagnostics: &mut Diagnostics) -> Option<OnRemove> {
    read(ON_REMOVE, on_remove_of, "is not \"stop\"", probe, diagnostics)
}

/// How many services may start at a time, if there is a limit; `None` if that cannot be read.
pub fn starts_at_a_time(probe: &mut Probe, diagnostics: &mut Diagnostics) -> Option<Option<usize>> {
    read(STARTS_AT_A_TIME, limit_of, "is no number above 0", probe, diagnostics)
}

/// Whether the lines of services without a logger are to be forwarded.
///
/// # Errors
/// ETIMEDOUT, EMFILE, EIO …: that cannot be told now, which is said.
pub fn forwards(probe: &mut Probe, diagnostics: &mut Diagnostics) -> nix::Result<bool> {
    let set = probe.is_set(Path::new(FORWARD));
    match set {
        Ok(_) => diagnostics.clear(&Subject::Setting(FORWARD)),
        Err(errno) => diagnostics.warn_unable_once(Subject::Setting(FORWARD), &Unable::new("stat", FORWARD, errno)),
    }
    set
}

/// Reads a setting; `misfit` says what is wrong with a text that makes no sense.
fn read<T>(
    file: &'static str,
    parse: fn(Option<&[u8]>) -> Option<T>,
    misfit: &str,
    probe: &mut Probe,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let subject = Subject::Setting(file);
    let text = probe.setting(Path::new(file));
    let complaint = match text.map(|text| (parse(text.as_deref()), text)) {
        Ok((Some(value), _)) => {
            diagnostics.clear(&subject);
            return Some(value);
        }
        Ok((None, text)) => {
            let text = text.unwrap_or_default();
            let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let shown = first_line.get(..SHOWN).unwrap_or(first_line);
            [file.as_bytes(), b": \"", shown, b"\" ", misfit.as_bytes(), b"; ignored"].concat()
        }
        Err(unread) => unread_words(file.as_bytes(), unread),
    };
    diagnostics.warn_once(subject, complaint);
    None
}

/// The message that a file could not be read.
pub fn unread_words(file: &[u8], unread: Unread) -> Vec<u8> {
    [b"unable to read ", file, b": ", unread.reason().as_bytes()].concat()
}

/// The text of `.svscan/on-remove`, if there is one, as a value; `None` if it makes no sense.
fn on_remove_of(text: Option<&[u8]>) -> Option<OnRemove> {
    match text.unwrap_or_default().trim_ascii() {
        b"stop" => Some(OnRemove::Stop),
        b"" => Some(OnRemove::Leave),
        _ => None,
    }
}

/// The text of `.svscan/starts-at-a-time`, if there is one, as a limit, if it is one; `None` if it makes no sense.
fn limit_of(text: Option<&[u8]>) -> Option<Option<usize>> {
    let Some(text) = text else { return Some(None) };
    let number: NonZeroUsize = std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()?;
    Some(Some(number.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_of_svscan_is_understood() {
        for (text, value) in [
            (None, Some(OnRemove::Leave)),
            (Some(&b" \n"[..]), Some(OnRemove::Leave)),
            (Some(b"stop\n"), Some(OnRemove::Stop)),
            (Some(b"stop it"), None),
        ] {
            assert_eq!(on_remove_of(text), value, "{text:?}");
        }
        for (text, value) in [
            (None, Some(None)),
            (Some(&b"7\n"[..]), Some(Some(7))),
            (Some(b""), None),
            (Some(b"0"), None),
            (Some(b"-1"), None),
            (Some(b"\xff"), None),
        ] {
            assert_eq!(limit_of(text), value, "{text:?}");
        }
    }
}
