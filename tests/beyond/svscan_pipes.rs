//! With `.svscan/forward`, a service can use its pipe as freely as svscan. Whatever it does with it, the lines of all
//! other services are forwarded. Only one process forwards at a time, whichever process was killed.

use crate::svscan::{COUNT, SCANNED, service};
use crate::svscan_forward::{forwarder, lines, svscan};
use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use tests::{Daemon, Scratch, Service, is_alive, processes_in, wait_until};

const NOTHING: &str = "exec sleep 1000";

/// The standard output of a service, opened as the service itself could open it, for reading and writing.
fn pipe_of(service: &Service, flags: OFlag) -> File {
    let path = format!("/proc/{}/fd/1", service.up());
    File::options().read(true).write(true).custom_flags(flags.bits()).open(path).expect("open the pipe")
}

/// A service that writes numbered lines.
fn good(scratch: &Scratch) -> Service<'_> {
    service(scratch, "good", COUNT)
}

fn goes_on(scratch: &Scratch, name: &str) {
    let before = lines(scratch, name).len();
    wait_until("its lines go on", || lines(scratch, name).len() > before + 30);
}

/// The processes that forward lines. They run svscan's program in the scan directory, and are none of those in
/// `svscan`.
fn forwarders(scratch: &Scratch, svscan: &[i32]) -> Vec<i32> {
    let program = |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("svscan"));
    let found = processes_in(&scratch.path().join(SCANNED));
    found.into_iter().filter(|pid| program(pid) && !svscan.contains(pid)).collect()
}

fn end(mut svscan: Daemon) -> Daemon {
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    svscan
}

#[test]
fn a_service_that_locks_its_pipe_holds_up_no_other_service() {
    let scratch = Scratch::new();
    let (bad, good) = (service(&scratch, "bad", NOTHING), good(&scratch));
    let svscan = svscan(&scratch);
    good.up();
    let _held = Flock::lock(pipe_of(&bad, OFlag::empty()), FlockArg::LockExclusiveNonblock).expect("lock the pipe");
    goes_on(&scratch, "good");
    let old = forwarder(svscan.pid()).expect("a forwarder");
    service(&scratch, "new", COUNT);
    goes_on(&scratch, "new");
    assert!(!is_alive(old));
    goes_on(&scratch, "good");
    // The lock that counts can only be taken by the account that runs svscan.
    let fifo = fs::metadata(scratch.path().join(SCANNED).join(".svscan/forwarder")).expect("the FIFO");
    assert_eq!((fifo.mode() & 0o777, fifo.uid()), (0o600, nix::unistd::geteuid().as_raw()));
    end(svscan);
}

#[test]
fn a_pipe_that_is_small_or_used_up_is_read_all_the_same() {
    let scratch = Scratch::new();
    let (bad, good) = (service(&scratch, "bad", NOTHING), good(&scratch));
    let svscan = svscan(&scratch);
    good.up();
    let said = || lines(&scratch, "bad");
    // The pipe holds less than a line, and is full.
    let mut pipe = pipe_of(&bad, OFlag::empty());
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(4096)).expect("make the pipe small");
    pipe.write_all(&[b'a'; 10_000]).expect("write");
    pipe.write_all(b"\n").expect("write");
    wait_until("all of it is there", || said().concat().len() == 10_000);
    // Each buffer of the pipe contains only one byte.
    let (source, packets) = pipe2(OFlag::O_DIRECT).expect("a pipe of packets");
    for byte in ["b"; 40].into_iter().chain(["\n"]) {
        File::from(packets.try_clone().expect("the same")).write_all(byte.as_bytes()).expect("write");
        assert_eq!(splice(&source, None, &pipe, None, 1, SpliceFFlags::empty()), Ok(1));
    }
    wait_until("all of that too", || said().concat().len() == 10_040);
    // The kernel does not report bytes that are added to the beginning of a line.
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(65536)).expect("make the pipe as it was");
    pipe.write_all(b"c").expect("write");
    goes_on(&scratch, "good");
    pipe.write_all(&[b"c".repeat(99_999), b"\n".to_vec()].concat()).expect("write");
    wait_until("and that", || said().concat().len() == 110_040);
    // Each write leaves a part of its buffer unused.
    for _ in 0..30 {
        pipe.write_all(&[b'd'; 3000]).expect("write");
    }
    pipe.write_all(b"\n").expect("write");
    wait_until("and that", || said().concat().len() == 200_040);
    goes_on(&scratch, "good");
    end(svscan);
}

#[test]
fn a_service_that_reads_its_own_pipe_holds_up_only_itself() {
    let scratch = Scratch::new();
    let (bad, good) = (service(&scratch, "bad", NOTHING), good(&scratch));
    let svscan = svscan(&scratch);
    good.up();
    let (mut writer, mut reader) = (pipe_of(&bad, OFlag::O_NONBLOCK), pipe_of(&bad, OFlag::O_NONBLOCK));
    let before = lines(&scratch, "good").len();
    let mut bytes = [0; 65536];
    let mut stolen = 0;
    while lines(&scratch, "good").len() < before + 100 || stolen < 1000 {
        let _ = writer.write(&b"x\n".repeat(100));
        stolen += reader.read(&mut bytes).unwrap_or(0);
    }
    let forwarder = forwarder(svscan.pid()).expect("a forwarder");
    goes_on(&scratch, "good");
    assert!(is_alive(forwarder));
    end(svscan);
}

#[test]
fn a_process_that_outlives_its_service_and_writes_on_holds_up_no_stop() {
    let scratch = Scratch::new();
    let bad = service(&scratch, "bad", &format!("setsid yes & {NOTHING}"));
    let svscan = svscan(&scratch);
    bad.up();
    wait_until("it speaks", || lines(&scratch, "bad").len() > 100);
    end(svscan);
}

#[test]
fn the_one_that_a_killed_svscan_leaves_makes_room_for_the_next() {
    let scratch = Scratch::new();
    good(&scratch);
    let first = svscan(&scratch);
    goes_on(&scratch, "good");
    let old = forwarder(first.pid()).expect("a forwarder");
    first.kill();
    goes_on(&scratch, "good");
    let second = svscan(&scratch);
    wait_until("it has one of its own, and no other runs", || {
        let now = forwarder(second.pid());
        now.is_some_and(|now| now != old && forwarders(&scratch, &[second.pid()]) == [now])
    });
    goes_on(&scratch, "good");
    // The svscan that is executed anew in this process replaces the forwarder, which may be of another version.
    let old = forwarder(second.pid()).expect("a forwarder");
    second.signal(Signal::SIGUSR2);
    wait_until("there is another, and only one", || {
        let now = forwarder(second.pid());
        now.is_some_and(|now| now != old && forwarders(&scratch, &[second.pid()]) == [now])
    });
    goes_on(&scratch, "good");
    // A forwarder that waits for its turn is killed with its svscan. A forwarder that still waits although its svscan
    // was killed gives way too.
    let old = forwarder(second.pid()).expect("a forwarder");
    kill(Pid::from_raw(old), Signal::SIGSTOP).expect("stop it");
    second.kill();
    let third = svscan(&scratch);
    wait_until("one waits", || forwarder(third.pid()).is_some());
    third.kill();
    let fourth = svscan(&scratch);
    wait_until("another one waits", || forwarder(fourth.pid()).is_some());
    kill(Pid::from_raw(old), Signal::SIGCONT).expect("let it go on");
    wait_until("there is only the last", || {
        forwarder(fourth.pid()).is_some_and(|now| forwarders(&scratch, &[fourth.pid()]) == [now])
    });
    goes_on(&scratch, "good");
    let said = end(fourth).errors();
    assert!(!said.contains("unable"), "{said}");
    let mut numbers: Vec<usize> = lines(&scratch, "good").iter().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers.len() + 1, lines(&scratch, "good").len(), "lines are cut, or the last one is missing");
    numbers.dedup();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "in order, and none twice");
}

#[test]
fn where_its_lock_is_removed_or_cannot_be_made_none_runs_beside_the_next() {
    let scratch = Scratch::new();
    good(&scratch);
    let first = svscan(&scratch);
    goes_on(&scratch, "good");
    let old = forwarder(first.pid()).expect("a forwarder");
    let fifo = scratch.path().join(SCANNED).join(".svscan/forwarder");
    fs::remove_file(&fifo).expect("remove the FIFO");
    wait_until("it has another lock", || forwarder(first.pid()).is_some_and(|now| now != old) && fifo.exists());
    goes_on(&scratch, "good");
    in_place_of(&fifo);
    let old = forwarder(first.pid()).expect("a forwarder");
    wait_until("it is another one", || forwarder(first.pid()).is_some_and(|now| now != old));
    goes_on(&scratch, "good");
    // Without a lock, the forwarder ends with its svscan.
    let last = forwarder(first.pid()).expect("a forwarder");
    first.kill();
    wait_until("it has ended too", || !is_alive(last));
    let second = svscan(&scratch);
    goes_on(&scratch, "good");
    end(second);
    let lines = lines(&scratch, "good");
    let mut numbers: Vec<usize> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "none is lost");
}

/// Replaces a FIFO by a directory.
fn in_place_of(fifo: &Path) {
    fs::create_dir(fifo.with_extension("new")).expect("make a directory");
    fs::rename(fifo, fifo.with_extension("old")).expect("move the FIFO away");
    fs::rename(fifo.with_extension("new"), fifo).expect("put the directory there");
}
