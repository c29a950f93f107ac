//! Whether another svscan than that of the scan directory has a service: one directory may have entries in two scan
//! directories, and has one supervise.
//!
//! Each svscan works in the directory that it serves. So another svscan has the service if it works elsewhere, and an entry
//! there leads to the service. Its supervise need not be its child: it may have been started by an svscan that was killed.
//! A process counts only if it is root's, this account's, or that of the account that owns `supervise/`, so that no other
//! account can keep a service from being ended.

use crate::services::Services;
use crate::unsupervised::no_svscan;
use daemontools::service::{Directory, Place, Record, ask};
use daemontools::sys::directory::for_each_name;
use daemontools::sys::process::{
    accounts, ancestry, has_gained_rights, has_proc, is_living, name, proc_path, process_numbers,
};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::stat::stat;
use nix::unistd::{Pid, geteuid};
use std::ffi::OsStr;
use std::fs::read_link;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The name of an svscan, as `/proc` tells it.
const SVSCAN: &str = "svscan";
/// How long svctl waits until it is known who has a service. An entry elsewhere may lead to a server that is gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is said if there is no other svscan, and if that is not known.
const NO_OTHER: &[u8] = b"";
const UNKNOWN: &[u8] = b"?";

/// Which svscan has a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// None but that of the scan directory, if there is one.
    NoOther,
    /// Another svscan, with this number.
    Other(Pid),
    /// That cannot be found out.
    Unknown,
}

/// Which svscan has the service in this directory, to which an entry of the scan directory leads or led.
pub fn keeper(services: &Services, service: &Path) -> Keeper {
    let is_served = no_svscan(services).is_none();
    if !has_proc() {
        return if is_served { Keeper::NoOther } else { Keeper::Unknown };
    }
    let question = || match find(services.directory(), service, is_served) {
        Ok(None) => NO_OTHER.to_vec(),
        Ok(Some(pid)) => pid.as_raw().to_ne_bytes().to_vec(),
        Err(_) => UNKNOWN.to_vec(),
    };
    match ask(PATIENCE, question) {
        Ok(Some(told)) if told == NO_OTHER => Keeper::NoOther,
        Ok(Some(told)) => {
            told.try_into().map_or(Keeper::Unknown, |pid| Keeper::Other(Pid::from_raw(i32::from_ne_bytes(pid))))
        }
        Ok(None) | Err(_) => Keeper::Unknown,
    }
}

/// The other svscan that has the service. `is_served`: an svscan serves the scan directory.
///
/// # Errors
/// The directories cannot be examined. EACCES: the supervise of the service is hidden from us, and no svscan serves the scan
/// directory.
fn find(scan: &Path, service: &Path, is_served: bool) -> nix::Result<Option<Pid>> {
    let (here, directory) = (Directory::at(scan)?, Directory::at(service)?);
    let place = Place::of(service)?;
    let owner = stat(place.directory()).ok().map(|found| found.st_uid);
    let is_trusted = |account: u32| account == 0 || account == geteuid().as_raw() || Some(account) == owner;
    let is_svscan = |pid: Pid| {
        name(pid).as_deref() == Some(SVSCAN)
            && accounts(pid).is_some_and(|accounts| accounts.into_iter().all(is_trusted))
    };
    let supervise = Record::read(&place).ok().map(|record| record.supervise.pid).filter(|pid| pid.as_raw() > 0);
    let parent = supervise.and_then(|pid| Some(ancestry(pid)?.parent)).filter(|pid| is_svscan(*pid));
    // The usual case.
    if parent.is_some_and(|parent| Directory::at(&proc_path(parent, "cwd")).is_ok_and(|its| its.is_same_as(&here))) {
        return Ok(None);
    }
    let is_hidden = |pid: Pid| !is_living(pid) && matches!(kill(pid, None), Err(Errno::EPERM)) && !is_served;
    if supervise.is_some_and(is_hidden) {
        return Err(Errno::EACCES);
    }
    Ok(process_numbers().into_iter().filter(|pid| is_svscan(*pid)).find(|pid| {
        let its = proc_path(*pid, "cwd");
        let is_elsewhere = Directory::at(&its).is_ok_and(|its| !its.is_same_as(&here));
        // Absolute links of another mount namespace cannot be followed here.
        let is_ours = Some(*pid) == parent && !sees_our_mounts(*pid);
        is_elsewhere && (is_ours || has_entry(&its, &directory)) && has_gained_rights(*pid) != Some(true)
    }))
}

/// Whether a process is in our mount namespace, as far as `/proc` tells.
fn sees_our_mounts(pid: Pid) -> bool {
    read_link(proc_path(pid, "ns/mnt")).is_ok_and(|its| read_link("/proc/self/ns/mnt").is_ok_and(|ours| ours == its))
}

/// Whether an entry of a scan directory leads to this directory.
fn has_entry(scan: &Path, directory: &Directory) -> bool {
    let mut is_found = false;
    let visit = |name: &[u8]| {
        let leads_there =
            || Directory::at(&scan.join(OsStr::from_bytes(name))).is_ok_and(|its| its.is_same_as(directory));
        is_found = !name.starts_with(b".") && leads_there();
        if is_found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let _ = for_each_name(scan, visit);
    is_found
}
