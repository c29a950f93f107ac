//! The file `after` of a service directory: the services that are to be ready before this one starts, and down after it.

use crate::files::{Unread, read_file};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The file that names the services that are to be ready before this one starts, and down after it: one name a line.
pub const AFTER: &str = "after";
/// How many names of a list count. More would cost svscan's time with every service.
pub const MOST_NAMES: usize = 1000;
/// The longest list of names that is read, in bytes.
const LONGEST_LIST: usize = 1 << 20;

/// The services that are to be ready before another one starts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct After {
    /// Their names, each once, no more than [`MOST_NAMES`].
    pub names: Vec<OsString>,
    /// How many names more are in the file.
    pub surplus: usize,
}

impl After {
    /// Reads the file `after` of this service directory; there are no names if there is no such file. The caller has made
    /// sure that the file can be touched.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(folder: &Path) -> Result<After, Unread> {
        let text = Unread::unless_missing(read_file(&folder.join(AFTER), LONGEST_LIST))?;
        Ok(text.map(|text| After::parse(&text)).unwrap_or_default())
    }

    fn parse(text: &[u8]) -> After {
        let names = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
        let mut known = HashSet::new();
        let mut names = names.filter(|name| known.insert(*name));
        let counted = names.by_ref().take(MOST_NAMES).map(|name| OsStr::from_bytes(name).to_os_string()).collect();
        After { names: counted, surplus: names.count() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_in_after_counts_once_and_surplus_names_do_not_count() {
        let After { names, surplus } = After::parse(b" b \n\na\nb\n\ta");
        assert_eq!((names, surplus), (vec!["b".into(), "a".into()], 0));
        let text: String = (0..MOST_NAMES + 7).map(|number| format!("{number}\n{number}\n")).collect();
        let After { names, surplus } = After::parse(text.as_bytes());
        assert_eq!((names.len(), surplus), (MOST_NAMES, 7));
        assert_eq!(names.last(), Some(&OsString::from((MOST_NAMES - 1).to_string())));
    }
}
