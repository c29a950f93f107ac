//! What a service is called in messages: as the argument of supervise names it. A logger gets its service's name too.
//!
//! svscan starts `supervise log` in the service directory. Where forty services write their errors to one place, `log`
//! alone does not tell which logger it is, so the logger of `web` is called `web/log`.

use daemontools::service::{LOG, ledger};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The label of the service `given`, before supervise changes into it.
pub fn of(given: &OsStr) -> OsString {
    let ours = std::env::var_os(ledger::SERVICE).filter(|service| !service.is_empty());
    let here = || Some(std::env::current_dir().ok()?.file_name()?.to_os_string());
    label(given, || ours.or_else(here))
}

/// The label of the service `given`, where `service` is the name of the directory in which the logger's directory lies.
fn label(given: &OsStr, service: impl FnOnce() -> Option<OsString>) -> OsString {
    let name = Path::new(given);
    if name.file_name() != Some(OsStr::new(LOG)) || name.parent() != Some(Path::new("")) {
        return given.to_os_string();
    }
    service().map_or_else(|| given.to_os_string(), |service| Path::new(&service).join(LOG).into_os_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logger_is_called_by_its_service_where_its_name_does_not_tell() {
        let web = || Some("web".into());
        for (given, expected) in [
            ("log", "web/log"),
            ("log/", "web/log"),
            ("web", "web"),
            ("db/log", "db/log"),
            ("/service/db/log", "/service/db/log"),
            ("blog", "blog"),
            ("", ""),
            ("/", "/"),
            ("..", ".."),
        ] {
            assert_eq!(label(given.as_ref(), web), expected, "{given}");
        }
        // In the root directory, or one that is gone.
        assert_eq!(label("log".as_ref(), || None), "log");
    }
}
