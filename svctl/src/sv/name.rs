//! Which program was called, by its name. No I/O.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The name of runit's program.
pub const SV: &str = "sv";

/// The largest number of links that are followed; the kernel has the same limit.
const MOST_LINKS: usize = 40;

/// The program that was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Called {
    /// svctl itself.
    Svctl,
    /// sv.
    Sv,
    /// A link to sv, as in `/etc/init.d`: a script of the Linux Standard Base for the service of this name.
    Script(OsString),
}

/// The program that was called by this name. `link` says where a link leads, as readlink(2) does.
///
/// A link of another name is a script for a service only if it leads to a name `sv`. So a link to svctl with a name that
/// somebody likes better is svctl.
pub fn called(name: &OsStr, link: impl Fn(&Path) -> Option<PathBuf>) -> Called {
    let base = |path: &Path| path.file_name().map(OsStr::to_os_string);
    let mut path = PathBuf::from(name);
    if path.file_name() == Some(OsStr::new(SV)) {
        return Called::Sv;
    }
    // A name without a slash was found in PATH, where no scripts are.
    let is_path = path.parent().is_some_and(|parent| parent != Path::new(""));
    for _ in 0..MOST_LINKS {
        let Some(target) = link(&path).filter(|_| is_path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(target);
        if path.file_name() == Some(OsStr::new(SV)) {
            return base(Path::new(name)).map_or(Called::Sv, Called::Script);
        }
    }
    Called::Svctl
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_or_where_it_leads_decides() {
        let links = [
            ("/etc/init.d/web", "/usr/bin/sv"),
            ("/usr/bin/sv", "/command/compat/sv"),
            ("/etc/init.d/near", "../../command/compat/sv"),
            ("/usr/bin/s", "/command/svctl"),
            ("bin/mail", "sv"),
            ("/etc/init.d/loop", "loop"),
        ];
        let link =
            |path: &Path| links.iter().find(|(from, _)| path == Path::new(from)).map(|(_, to)| PathBuf::from(to));
        let script = |name: &str| Called::Script(name.into());
        for (name, expected) in [
            ("svctl", Called::Svctl),
            ("/command/svctl", Called::Svctl),
            ("", Called::Svctl),
            ("sv", Called::Sv),
            ("/usr/bin/sv", Called::Sv),
            ("/etc/init.d/web", script("web")),
            ("/etc/init.d/near", script("near")),
            ("bin/mail", script("mail")),
            ("/usr/bin/s", Called::Svctl),
            ("/etc/init.d/loop", Called::Svctl),
            ("web", Called::Svctl),
        ] {
            assert_eq!(called(OsStr::new(name), link), expected, "{name}");
        }
    }
}
