//! The names by which svlog tells logs apart.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The names of the logs: the last parts of their paths, or the paths as given if two logs had the same last part.
pub fn names(arguments: &[OsString]) -> Vec<Vec<u8>> {
    let short: Vec<Vec<u8>> = arguments.iter().map(|argument| last_part(argument)).collect();
    let mut sorted = short.clone();
    sorted.sort();
    let unique = sorted.windows(2).all(|pair| pair[0] != pair[1]);
    if unique { short } else { arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect() }
}

fn last_part(argument: &OsStr) -> Vec<u8> {
    let real = || fs::canonicalize(argument).ok()?.file_name().map(OsStr::to_os_string);
    let part = Path::new(argument).file_name().map(OsStr::to_os_string).or_else(real);
    part.unwrap_or_else(|| argument.to_os_string()).into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_unless_they_would_be_the_same() {
        let of = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            names(&arguments).into_iter().map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of(&["/service/web/", "db"]), ["web", "db"]);
        assert_eq!(of(&["/service/web/log/main", "db/log/main"]), ["/service/web/log/main", "db/log/main"]);
        assert_eq!(of(&["/"]), ["/"]);
    }
}
