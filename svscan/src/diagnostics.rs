//! Warnings that are not repeated: svscan says once what is wrong with a subject, and again when that changes, or after
//! the subject was right for a while. Control bytes in names are spelled out, so that a message is one line and nothing
//! happens to the terminal.

use crate::table::{Id, SuperviseId};
use daemontools::{Unable, report};
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// What a warning is about. svscan remembers the last warning about each subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The scan directory.
    Directory,
    /// A file in `.svscan` with a setting of svscan.
    Setting(&'static str),
    /// The kernel's reports of changes in the scan directory.
    Watch,
    /// An entry that is not a service.
    Entry(OsString),
    /// A service's contents.
    Service(Id),
    /// The other names of a service.
    Names(Id),
    /// The file `after` of a service.
    Order(Id),
    /// A name in the file `after` of a service.
    After(Id, OsString),
    /// A supervise that could not be started.
    Start(SuperviseId),
}

/// After this number of scans without a warning, an entry counts as right again. It is more than one, because some scans miss
/// an entry that comes and goes.
const A_WHILE: u64 = 12;

/// The last warning about each subject, and the scan in which it was last given.
#[derive(Debug, Default)]
pub struct Diagnostics {
    said: HashMap<Subject, (Vec<u8>, u64)>,
    scan: u64,
}

impl Diagnostics {
    /// Warns that something could not be done, unless that was the last warning about the subject.
    pub fn warn_unable_once(&mut self, subject: Subject, unable: &Unable) {
        self.warn_once(subject, unable.to_bytes());
    }

    /// Warns in these words, unless that was the last warning about the subject.
    pub fn warn_once(&mut self, subject: Subject, words: Vec<u8>) {
        if self.news(subject, &words) {
            report::warning(&[&printable(&words)]);
        }
    }

    /// Warns about several names in one line. Each name is a subject of its own: the line leaves out the names for which that
    /// was the last warning. Of many names it has the first few, and the number of the others.
    pub fn warn_once_of_names(
        &mut self,
        names: Vec<OsString>,
        subject: impl Fn(OsString) -> Subject,
        words: impl Fn(&[u8]) -> Vec<u8>,
    ) {
        let is_news = |name: &OsString| self.news(subject(name.clone()), &words(name.as_bytes()));
        let news: Vec<OsString> = names.into_iter().filter(is_news).collect();
        if !news.is_empty() {
            report::warning(&[&printable(&words(&list(&news)))]);
        }
    }

    /// Whether this was the last warning about the subject.
    pub fn is_current(&self, subject: &Subject, unable: &Unable) -> bool {
        self.said.get(subject).is_some_and(|(words, _)| *words == unable.to_bytes())
    }

    /// Remembers a warning. Returns whether it was not the last one about the subject, and so is to be said.
    fn news(&mut self, subject: Subject, words: &[u8]) -> bool {
        match self.said.get_mut(&subject) {
            Some((before, last)) if before == words => {
                *last = self.scan;
                false
            }
            _ => {
                self.said.insert(subject, (words.to_vec(), self.scan));
                true
            }
        }
    }

    /// Takes in that nothing is wrong with the subject any more.
    pub fn clear(&mut self, subject: &Subject) {
        self.said.remove(subject);
    }

    /// Takes in that a scan begins: svscan is about to look at all entries.
    pub fn begin_scan(&mut self) {
        self.scan += 1;
    }

    /// Takes in that a scan has ended, and forgets the warnings about entries for which there was no warning for a
    /// while: these are right by now, or gone.
    pub fn end_scan(&mut self) {
        let scan = self.scan;
        self.said.retain(|subject, (_, last)| *last + A_WHILE > scan || !matches!(subject, Subject::Entry(_)));
    }

    /// Forgets the warnings about a service that is gone.
    pub fn forget(&mut self, id: Id) {
        self.said.retain(|subject, _| match subject {
            Subject::Service(known) | Subject::Names(known) | Subject::Order(known) | Subject::After(known, _) => {
                *known != id
            }
            Subject::Start(which) => which.id != id,
            Subject::Directory | Subject::Setting(_) | Subject::Watch | Subject::Entry(_) => true,
        });
    }
}

/// How many names a message has.
const FEW: usize = 5;

/// The names as a message has them: `a, b, c, d, e and 95 more`.
fn list(names: &[OsString]) -> Vec<u8> {
    let first: Vec<&[u8]> = names.iter().take(FEW).map(|name| name.as_bytes()).collect();
    let mut list = first.join(&b", "[..]);
    if names.len() > FEW {
        list.extend(format!(" and {} more", names.len() - FEW).into_bytes());
    }
    list
}

/// The words with control bytes spelled out: a newline as `\x0a`, an escape as `\x1b`. All other bytes are as they are.
fn printable(words: &[u8]) -> Vec<u8> {
    let mut printable = Vec::with_capacity(words.len());
    for byte in words {
        if byte.is_ascii_control() {
            printable.extend(format!("\\x{byte:02x}").into_bytes());
        } else {
            printable.push(*byte);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Subject {
        Subject::Entry("x".into())
    }

    #[test]
    fn the_same_warning_is_said_once_and_another_one_is_said() {
        let mut diagnostics = Diagnostics::default();
        assert!(diagnostics.news(entry(), b"a"));
        assert!(!diagnostics.news(entry(), b"a"));
        assert!(diagnostics.news(entry(), b"b"));
        assert!(diagnostics.news(Subject::Directory, b"b"));
    }

    #[test]
    fn a_warning_is_repeated_after_an_entry_was_right_for_a_while_but_not_if_it_comes_and_goes() {
        let mut diagnostics = Diagnostics::default();
        assert!(diagnostics.news(entry(), b"a"));
        for pause in [1, A_WHILE - 1, A_WHILE] {
            for _ in 0..pause {
                diagnostics.begin_scan();
                diagnostics.end_scan();
            }
            assert_eq!(diagnostics.news(entry(), b"a"), pause == A_WHILE, "{pause}");
        }
    }

    #[test]
    fn a_message_has_a_few_names_and_the_number_of_the_others() {
        let names = |count: usize| (0..count).map(|number| number.to_string().into()).collect::<Vec<OsString>>();
        let table = [(1, "0"), (2, "0, 1"), (5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4 and 1 more")];
        for (count, expected) in table {
            assert_eq!(list(&names(count)), expected.as_bytes());
        }
    }

    #[test]
    fn only_control_bytes_are_spelled_out() {
        let table: [(&[u8], &[u8]); 3] = [
            (b"a\nb\t", b"a\\x0ab\\x09"),
            (b"\x1b[2J\x7f", b"\\x1b[2J\\x7f"),
            (b"\xff \\n\xc3\xa9", b"\xff \\n\xc3\xa9"),
        ];
        for (words, expected) in table {
            assert_eq!(printable(words), expected, "{words:?}");
        }
    }
}
