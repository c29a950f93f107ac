//! svscan with each of the files that it looks at being something else, as the owner of a service directory, or of the
//! scan directory, can make it: none of them stops svscan, nor the other services.

use crate::svscan::{SCANNED, service, svscan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use tests::{Scratch, Service, children_of, is_alive, processes_in};

type Make = fn(&Path);

/// What a file may be instead.
const KINDS: [(&str, Make); 8] = [
    ("fifo", |path| tests::fifo(path).expect("make a FIFO")),
    ("socket", |path| drop(UnixListener::bind(path).expect("make a socket"))),
    ("device", |path| symlink("/dev/zero", path).expect("make a link")),
    ("dangling", |path| symlink("nowhere", path).expect("make a link")),
    ("circle", |path| symlink(path, path).expect("make a link")),
    ("directory", |path| fs::create_dir(path).expect("make a directory")),
    ("huge", |path| File::create(path).and_then(|file| file.set_len(1 << 30)).expect("make a file")),
    ("unreadable", |path| {
        fs::write(path, "1\n").expect("make a file");
        fs::set_permissions(path, Permissions::from_mode(0o0)).expect("set its mode");
    }),
];

/// A service like `web` starts, is restarted and stops, and so does one that is added, whatever else is served.
fn others_are_served(scratch: &Scratch, what: &str) {
    let web = service(scratch, "web", "exec sleep 1000");
    let mut svscan = svscan(scratch);
    let pid = web.up();
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill it");
    web.another(pid);
    // svscan looks at what they have left.
    for supervise in children_of(svscan.pid()) {
        let _ = kill(Pid::from_raw(supervise), Signal::SIGKILL);
    }
    service(scratch, "late", "exec sleep 1000").up();
    // Looked at after all that svscan has to do with what was killed.
    svscan.signal(Signal::SIGHUP);
    service(scratch, "later", "exec sleep 1000").up();
    fs::remove_dir_all(Service::at(scratch, &format!("{SCANNED}/late")).path("")).expect("remove one");
    service(scratch, "latest", "exec sleep 1000").up();
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{what}: {}", svscan.errors());
    let left: Vec<i32> = processes_in(&scratch.path().join(SCANNED));
    // Of what was removed svscan knows nothing any more, nor of what it could not reach at once.
    assert!(left.iter().all(|pid| !is_alive(*pid) || is_of_removed(*pid)), "{what}: {left:?}");
}

fn is_of_removed(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|path| path.to_string_lossy().contains("late"))
}

#[test]
fn no_file_of_a_service_keeps_others_from_being_served() {
    let files = [
        "after",
        "timeout-kill",
        "essential",
        "down",
        "log",
        "run",
        "supervise",
        "supervise/state",
        "supervise/status",
        "supervise/orphan",
        "supervise/orphan.new",
        "supervise/control",
        "supervise/ok",
        "supervise/lock",
    ];
    for file in files {
        let scratch = Scratch::new();
        for (kind, make) in KINDS {
            let service = service(&scratch, kind, "exec sleep 1000");
            if file.contains('/') {
                scratch.dir(format!("{SCANNED}/{kind}/supervise"));
            }
            let _ = fs::remove_file(service.path(file));
            make(&service.path(file));
        }
        others_are_served(&scratch, file);
    }
}

#[test]
fn no_file_of_the_scan_directory_keeps_services_from_being_served() {
    let files = ["on-remove", "starts-at-a-time", "forward", "finish", "crash", "SIGHUP", "SIGTERM", "lock"];
    for (kind, make) in KINDS {
        let scratch = Scratch::new();
        scratch.dir(format!("{SCANNED}/.svscan"));
        for file in files {
            make(&scratch.path().join(SCANNED).join(".svscan").join(file));
        }
        others_are_served(&scratch, kind);
        let scratch = Scratch::new();
        scratch.dir(SCANNED);
        make(&scratch.path().join(SCANNED).join(".svscan"));
        others_are_served(&scratch, kind);
    }
}
