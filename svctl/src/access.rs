//! Services that this account may not look at: whose they are, and what to do.

use crate::answer::Answer;
use crate::services::{Reach, Service};
use daemontools::report::{Whose, whose};
use daemontools::service::{OK, Place, has_supervise_at};
use nix::errno::Errno;

/// Whose a service is whose `supervise/` this account may not look into; `None` if it may.
pub fn closed(service: &Service) -> Option<Whose> {
    let is_closed = service.reach == Reach::Answers && has_supervise_at(&service.path) == Err(Errno::EACCES);
    is_closed.then(|| Place::of(&service.path).ok()).flatten().and_then(|place| whose(&place.path(OK)))
}

/// As [`closed`], of a service about which this was seen.
pub fn closed_to(service: &Service, answer: &Answer) -> Option<Whose> {
    matches!(answer, Answer::Unknown(_)).then(|| closed(service)).flatten()
}

/// What is said below a table: `44 services belong to root, and this is nobody: run it as root`.
pub fn summary(closed: &[Whose]) -> Option<String> {
    let first = closed.first()?;
    let mut owners: Vec<&str> = Vec::new();
    for whose in closed {
        if !owners.contains(&whose.owner.as_str()) {
            owners.push(&whose.owner);
        }
    }
    let run_as = if let [owner] = owners[..] { owner } else { "root" };
    let belong = match closed.len() {
        1 => "1 service belongs".to_string(),
        count => format!("{count} services belong"),
    };
    Some(format!("{belong} to {}, and this is {}: run it as {run_as}", owners.join(" and "), first.own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_to_use_is_named() {
        let whose = |owner: &str| Whose { what: b"it".to_vec(), owner: owner.into(), own: "nobody".into() };
        for (owners, expected) in [
            (vec![], None),
            (vec!["root"], Some("1 service belongs to root, and this is nobody: run it as root")),
            (vec!["web", "web"], Some("2 services belong to web, and this is nobody: run it as web")),
            (vec!["web", "root"], Some("2 services belong to web and root, and this is nobody: run it as root")),
        ] {
            let closed: Vec<Whose> = owners.into_iter().map(whose).collect();
            assert_eq!(summary(&closed).as_deref(), expected);
        }
    }
}
