//! Other programs read standard error. Whatever they do, no program of ours waits for them or is killed by a broken
//! pipe, and messages that could not be written are counted.

use crate::svscan::{SCANNED, service};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{FlowArg, tcflow};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{ChildStdin, Command, Stdio};
use tests::{
    Log, Running, Scratch, Service, fails, fifo, is_alive, is_root, lines, parent_of, skip, state_of, wait_until,
};

/// What standard error leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Errors {
    FullPipe,
    PipeWithoutReader,
    FullFifo,
    FullSocket,
    SocketWithoutReader,
    StoppedTerminal,
    FullDevice,
    Closed,
}

const ALL: [Errors; 8] = [
    Errors::FullPipe,
    Errors::PipeWithoutReader,
    Errors::FullFifo,
    Errors::FullSocket,
    Errors::SocketWithoutReader,
    Errors::StoppedTerminal,
    Errors::FullDevice,
    Errors::Closed,
];

/// A descriptor that writes there, and what must stay open meanwhile.
struct Made(Option<OwnedFd>, Vec<OwnedFd>);

impl Errors {
    fn make(self, scratch: &Scratch) -> Made {
        match self {
            Errors::FullPipe => {
                let (reader, writer) = full_pipe();
                Made(Some(writer.into()), vec![reader.into()])
            }
            Errors::PipeWithoutReader => Made(Some(std::io::pipe().expect("a pipe").1.into()), Vec::new()),
            Errors::FullFifo => {
                let path = scratch.path().join(format!("fifo{}", scratch.next()));
                fifo(&path).expect("a FIFO");
                let both = OpenOptions::new().read(true).write(true).open(&path).expect("open it");
                let writer = OpenOptions::new().append(true).open(&path).expect("open it for writing");
                fill(&writer);
                Made(Some(writer.into()), vec![both.into()])
            }
            Errors::FullSocket => {
                let (ours, its) = UnixStream::pair().expect("a pair of sockets");
                fill(&its);
                Made(Some(its.into()), vec![ours.into()])
            }
            Errors::SocketWithoutReader => {
                Made(Some(UnixStream::pair().expect("a pair of sockets").1.into()), Vec::new())
            }
            Errors::StoppedTerminal => {
                let terminal = openpty(None, None).expect("a terminal");
                for fd in [&terminal.master, &terminal.slave] {
                    fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).expect("close it on exec");
                }
                tcflow(&terminal.slave, FlowArg::TCOOFF).expect("stop the terminal");
                let other = terminal.slave.try_clone().expect("another descriptor");
                Made(Some(terminal.slave), vec![terminal.master, other])
            }
            Errors::FullDevice => Made(Some(File::create("/dev/full").expect("open /dev/full").into()), Vec::new()),
            Errors::Closed => Made(None, Vec::new()),
        }
    }

    /// A program, given by its name and arguments, that has this as its standard error.
    fn command(self, scratch: &Scratch, program: &str, args: &[&str]) -> (Command, Vec<OwnedFd>) {
        let Made(errors, kept) = self.make(scratch);
        let mut command = scratch.command("env");
        command.args(["--default-signal=PIPE,INT", "/bin/sh", "-c"]);
        // A command cannot be given a closed descriptor, so the shell closes it.
        command.arg(if errors.is_none() { "exec \"$0\" \"$@\" 2>&-" } else { "exec \"$0\" \"$@\"" });
        command.arg(program).args(args).env("SCRATCH", scratch.path());
        command.stderr(errors.map_or(Stdio::null(), Stdio::from));
        (command, kept)
    }

    fn start(self, scratch: &Scratch, program: &str, args: &[&str]) -> (Running, Vec<OwnedFd>) {
        let (mut command, kept) = self.command(scratch, program, args);
        (Running(command.spawn().expect("start a daemon")), kept)
    }
}

/// Fills the pipe or socket until nothing more fits. Its flags are unchanged afterwards.
fn fill(to: impl AsFd) {
    let flags = OFlag::from_bits_retain(fcntl(&to, FcntlArg::F_GETFL).expect("its flags"));
    fcntl(&to, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).expect("set its flags");
    for piece in [&[b'x'; 4096][..], b"x"] {
        while nix::unistd::write(&to, piece).is_ok() {}
    }
    fcntl(&to, FcntlArg::F_SETFL(flags)).expect("set its flags");
}

fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    fill(&writer);
    (reader, writer)
}

/// Reads what filled the pipe. The next bytes are messages.
fn drain(reader: &mut impl Read, filled: usize) {
    reader.read_exact(&mut vec![0; filled]).expect("read what was in the pipe");
}

fn a_line(reader: &mut impl Read) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\n") {
        reader.read_exact(&mut byte).expect("a line");
        line.extend(byte);
    }
    String::from_utf8(line).expect("text")
}

/// The capacity of an ordinary pipe.
const FILLED: usize = 65536;

#[test]
fn supervise_goes_on_whatever_becomes_of_its_warnings() {
    for errors in ALL {
        let scratch = Scratch::new();
        // supervise writes a warning of its own, and at first one of its children says why it cannot start.
        let web = Service::new(&scratch, "web", "exec sleep 1000").file("timeout-kill", "nonsense\n");
        std::fs::rename(web.path("run"), web.path("later")).expect("rename run");
        let (supervise, _kept) = errors.start(&scratch, "supervise", &["web"]);
        wait_until(&format!("{errors:?}: supervise is in charge"), || web.is_supervised());
        std::fs::rename(web.path("later"), web.path("run")).expect("rename run");
        let pid = web.up();
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill the service");
        let pid = web.another(pid);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the status of the service");
        for set in ["SigIgn:", "SigBlk:", "ShdPnd:", "SigPnd:"] {
            let set = status.lines().find_map(|line| line.strip_prefix(set)).expect("a set of signals");
            let set = u64::from_str_radix(set.trim(), 16).expect("a number");
            assert_eq!(set & 1 << (Signal::SIGPIPE as i32 - 1), 0, "{errors:?}: {status}");
        }
        web.svc("-dx");
        assert_eq!(supervise.wait().code(), Some(0), "{errors:?}");
    }
}

#[test]
fn svscan_goes_on_and_stops_and_is_followed_by_finish() {
    for errors in ALL {
        let scratch = Scratch::new();
        scratch.file(format!("{SCANNED}/file"), "");
        scratch.script(format!("{SCANNED}/.svscan/finish"), "#!/bin/sh\necho $1 >finished\n");
        let first = service(&scratch, "first", "exec sleep 1000");
        let (svscan, _kept) = errors.start(&scratch, "svscan", &[SCANNED]);
        let pid = first.up();
        service(&scratch, ".new", "exec sleep 1000");
        let path = |name| scratch.path().join(SCANNED).join(name);
        std::fs::rename(path(".new"), path("new")).expect("rename a service");
        let other = Service::at(&scratch, &format!("{SCANNED}/new")).up();
        kill(Pid::from_raw(svscan.0.id() as i32), Signal::SIGTERM).expect("tell svscan to stop");
        assert_eq!(svscan.wait().code(), Some(0), "{errors:?}");
        assert!(!is_alive(pid) && !is_alive(other), "{errors:?}");
        assert_eq!(std::fs::read_to_string(path("finished")).expect("what finish wrote"), "0\n", "{errors:?}");
    }
}

/// multilog writes an alert for every line, and a warning about its script.
const SCRIPT: [&str; 6] = ["s4096", "n99", "bnonsense", "e", "!cat", "./main"];

#[test]
fn multilog_goes_on_and_its_processor_too() {
    for errors in ALL {
        let scratch = Scratch::new();
        let (mut command, _kept) = errors.command(&scratch, "multilog", &SCRIPT);
        let mut multilog = Running(command.stdin(Stdio::piped()).spawn().expect("start multilog"));
        let fed = lines(200, 40);
        multilog.0.stdin.take().expect("a pipe").write_all(&fed).expect("feed multilog");
        assert_eq!(multilog.wait().code(), Some(0), "{errors:?}");
        let log = Log::of(&scratch, "main");
        assert_eq!((log.all(), !log.old().is_empty()), (fed, true), "{errors:?}");
    }
}

#[test]
fn logcompress_looks_at_each_file_though_it_can_compress_none() {
    for errors in ALL {
        let scratch = Scratch::new();
        scratch.dir("main/compressing/in-its-way");
        scratch.file("main/@4000000000000000000000aa.s", "line\n");
        scratch.file("main/@4000000000000000000000ab.s", "line\n");
        let (logcompress, _kept) = errors.start(&scratch, "logcompress", &["gzip", "main"]);
        assert_eq!(logcompress.wait().code(), Some(111), "{errors:?}");
    }
}

#[test]
fn programs_that_fail_say_so_or_do_not_but_exit_as_ever() {
    for errors in ALL {
        let scratch = Scratch::new();
        scratch.file("file", "");
        for (program, args, code) in [
            ("setuidgid", &["nobody", "/nowhere/program"][..], 111),
            ("svscan", &["nowhere"], 111),
            ("multilog", &["./file/x"], 111),
        ] {
            let (program, _kept) = errors.start(&scratch, program, args);
            assert_eq!(program.wait().code(), Some(code), "{errors:?}");
        }
    }
}

#[test]
fn svscanboot_and_readproctitle_have_no_use_for_it() {
    for errors in [Errors::FullPipe, Errors::PipeWithoutReader, Errors::Closed] {
        let scratch = Scratch::new();
        let a = service(&scratch, "a", "exec sleep 1000");
        let directory = scratch.path().join(SCANNED);
        let (boot, _kept) = errors.start(&scratch, "svscanboot", &[directory.to_str().expect("a plain path")]);
        a.up();
        kill(Pid::from_raw(boot.0.id() as i32), Signal::SIGTERM).expect("tell it to stop");
        assert_eq!(boot.wait().code(), Some(0), "{errors:?}");
        let (mut command, _kept) = errors.command(&scratch, "readproctitle", &["......"]);
        assert_eq!(Running(command.stdin(Stdio::null()).spawn().expect("start it")).wait().code(), Some(0));
    }
}

/// An alert for every line except those that begin with `quiet`.
const ALERTS: [&str; 4] = ["-quiet*", "e", "+*", "./main"];

/// Waits until multilog has dropped the alerts of all lines fed before, which have this number of bytes.
fn given_up(scratch: &Scratch, input: &mut ChildStdin, bytes: usize) {
    let written = || Log::of(scratch, "main").content("current");
    wait_until("they are written", || written().len() == bytes);
    // multilog writes the line after them only when it has finished with the alerts.
    input.write_all(b"quiet\n").expect("feed multilog");
    wait_until("the line after them is written", || written().ends_with(b"quiet\n"));
}

/// A multilog that has lost 37 alerts because its standard error is full.
fn multilog_with_37_lost(scratch: &Scratch, command: &mut Command, writer: PipeWriter) -> (Running, ChildStdin) {
    let mut multilog =
        Running(command.args(ALERTS).stdin(Stdio::piped()).stderr(writer).spawn().expect("start multilog"));
    let mut input = multilog.0.stdin.take().expect("a pipe");
    input.write_all(&lines(37, 40)).expect("feed multilog");
    given_up(scratch, &mut input, 37 * 40);
    (multilog, input)
}

#[test]
fn what_was_lost_is_counted_and_said_before_what_comes_next() {
    let scratch = Scratch::new();
    let (mut reader, writer) = full_pipe();
    let mut command = scratch.command("multilog");
    let (multilog, mut input) = multilog_with_37_lost(&scratch, &mut command, writer);
    drain(&mut reader, FILLED);
    input.write_all(b"the next\n").expect("feed multilog");
    drop((command, input));
    assert_eq!(multilog.wait().code(), Some(0));
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("what it said");
    assert_eq!(said, "multilog: warning: 37 messages lost\nthe next\n");
}

#[test]
fn what_was_lost_is_said_when_a_daemon_wakes() {
    let scratch = Scratch::new();
    let (mut reader, writer) = full_pipe();
    let mut command = scratch.command("multilog");
    let (multilog, input) = multilog_with_37_lost(&scratch, &mut command, writer);
    drain(&mut reader, FILLED);
    kill(Pid::from_raw(multilog.0.id() as i32), Signal::SIGALRM).expect("wake multilog");
    assert_eq!(a_line(&mut reader), "multilog: warning: 37 messages lost\n");
    drop((command, input, multilog));

    let (mut reader, writer) = full_pipe();
    let web = Service::new(&scratch, "web", "exec sleep 1000").file("timeout-kill", "nonsense\n");
    let supervise = Running(scratch.command("supervise").arg("web").stderr(writer).spawn().expect("start supervise"));
    web.up();
    drain(&mut reader, FILLED);
    web.svc("-a");
    assert_eq!(a_line(&mut reader), "supervise: warning: 1 message lost\n");
    web.svc("-dx");
    assert_eq!(supervise.wait().code(), Some(0));

    let (mut reader, writer) = full_pipe();
    scratch.file(format!("{SCANNED}/file"), "");
    let a = service(&scratch, "a", "exec sleep 1000");
    let svscan = Running(scratch.command("svscan").arg(SCANNED).stderr(writer).spawn().expect("start svscan"));
    a.up();
    drain(&mut reader, FILLED);
    assert_eq!(a_line(&mut reader), "svscan: warning: 1 message lost\n");
    drop(svscan);
}

#[test]
fn what_was_lost_is_said_at_a_programs_end_and_by_no_other_program() {
    let scratch = Scratch::new();
    let (mut reader, writer) = full_pipe();
    let (multilog, input) = multilog_with_37_lost(&scratch, &mut scratch.command("multilog"), writer);
    drain(&mut reader, FILLED);
    drop(input);
    assert_eq!(multilog.wait().code(), Some(0));
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("what it said");
    assert_eq!(said, "multilog: warning: 37 messages lost\n");
}

#[test]
fn a_line_that_was_torn_is_ended_before_the_next() {
    let scratch = Scratch::new();
    let (mut reader, writer) = full_pipe();
    // There is room for some of the lines, but not for all of them at once.
    let room = 8192;
    drain(&mut reader, room);
    let mut command = scratch.command("multilog");
    let mut multilog =
        Running(command.args(ALERTS).stdin(Stdio::piped()).stderr(writer).spawn().expect("start multilog"));
    let mut input = multilog.0.stdin.take().expect("a pipe");
    input.write_all(&lines(100, 200)).expect("feed multilog");
    given_up(&scratch, &mut input, 100 * 200);
    drain(&mut reader, FILLED - room);
    input.write_all(b"the next\n").expect("feed multilog");
    drop((command, input));
    assert_eq!(multilog.wait().code(), Some(0));
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("what it said");
    let said: Vec<&str> = said.lines().collect();
    let (whole, rest) = said.split_at(said.iter().position(|line| line.len() != 199).expect("a torn line"));
    let lost = format!("multilog: warning: {} messages lost", 100 - whole.len());
    assert!(rest[0].starts_with("00000") && rest.len() == 3, "{rest:?}");
    assert_eq!(rest[1..], [lost.as_str(), "the next"]);
}

#[test]
fn another_accounts_pipe_is_not_waited_for_either() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    for errors in [Errors::FullPipe, Errors::FullFifo] {
        let scratch = Scratch::new();
        let Made(full, _kept) = errors.make(&scratch);
        std::fs::set_permissions(scratch.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .expect("let all in");
        let mut command = scratch.as_nobody("multilog");
        let writer = PipeWriter::from(full.expect("a descriptor"));
        let (multilog, input) = multilog_with_37_lost(&scratch, &mut command, writer);
        drop(input);
        assert_eq!(multilog.wait().code(), Some(0), "{errors:?}");
    }
}

#[test]
fn nor_is_a_pipe_where_there_is_no_proc() {
    let scratch = Scratch::new();
    if scratch.shell("unshare -m mount -t tmpfs none /proc").code != 0 {
        return skip("needs root, for a namespace of its own");
    }
    for errors in ALL {
        let scratch = Scratch::new();
        let line = format!("mount -t tmpfs none /proc && exec {}/multilog e ./main", scratch.programs().display());
        let (mut command, _kept) = errors.command(&scratch, "unshare", &["-m", "/bin/sh", "-c", &line]);
        let mut multilog = Running(command.stdin(Stdio::piped()).spawn().expect("start multilog"));
        multilog.0.stdin.take().expect("a pipe").write_all(&lines(37, 40)).expect("feed multilog");
        assert_eq!(multilog.wait().code(), Some(0), "{errors:?}");
        assert_eq!(Log::of(&scratch, "main").all(), lines(37, 40), "{errors:?}");
    }
}

/// Waits until the terminal has received enough, and returns that text.
fn shown(master: &OwnedFd, enough: impl Fn(&str) -> bool) -> String {
    fcntl(master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("set its flags");
    let (mut said, mut bytes) = (Vec::new(), [0; 1024]);
    wait_until("the terminal shows it", || {
        let length = nix::unistd::read(master, &mut bytes).unwrap_or(0);
        said.extend(&bytes[..length]);
        enough(&String::from_utf8_lossy(&said))
    });
    String::from_utf8(said).expect("text")
}

#[test]
fn a_job_in_the_background_of_a_terminal_is_not_stopped_for_a_warning() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", "exec sleep 1000").file("timeout-kill", "nonsense\n");
    let terminal = openpty(None, None).expect("a terminal");
    let slave = || Stdio::from(terminal.slave.try_clone().expect("another descriptor"));
    // With `-m`, a background job is a process group of its own, and the terminal belongs to another group.
    let job = "stty tostop; supervise web & echo $! >pid; wait";
    let mut command = scratch.command("setsid");
    command.args(["--ctty", "--wait", "/bin/sh", "-mc", job]).env("SCRATCH", scratch.path());
    let _shell = Running(command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().expect("start a shell"));
    shown(&terminal.master, |said| said.contains("supervise: warning: "));
    web.up();
    let pid: i32 =
        std::fs::read_to_string(scratch.path().join("pid")).expect("its pid").trim().parse().expect("a number");
    assert_ne!(state_of(pid), Some('T'));
}

#[test]
fn a_terminal_obeys_no_name_and_no_line() {
    let scratch = Scratch::new();
    let name = "\x1b[2J\u{9b}2J\n";
    let terminal = openpty(None, None).expect("a terminal");
    let slave = || Stdio::from(terminal.slave.try_clone().expect("another descriptor"));
    let mut command = scratch.command("supervise");
    assert_eq!(Running(command.arg(name).stderr(slave()).spawn().expect("start supervise")).wait().code(), Some(111));
    let mut multilog = scratch.command("multilog");
    multilog.args(["e"]).stdin(Stdio::piped()).stderr(slave());
    let mut multilog = Running(multilog.spawn().expect("start multilog"));
    multilog.0.stdin.take().expect("a pipe").write_all(b"\x1b]0;title\x07\n").expect("feed multilog");
    assert_eq!(multilog.wait().code(), Some(0));
    let said = shown(&terminal.master, |said| said.matches('\n').count() == 2);
    let expected =
        "supervise: fatal: unable to chdir to \\x1b[2J\\u009b2J\\x0a: file does not exist\r\n\\x1b]0;title\\x07\r\n";
    assert_eq!(said, expected);
    // Elsewhere names are written as raw bytes, except for newlines.
    let spelled = name.replace('\n', r"\x0a");
    assert!(scratch.outcome_of(scratch.command("supervise").arg(name)).stderr.contains(&spelled));
}

/// SIGPIPE is blocked in these programs, so a write without a reader leaves a pending signal.
#[test]
fn a_broken_pipe_ends_neither_svscan_nor_supervise() {
    let scratch = Scratch::new();
    scratch.script(format!("{SCANNED}/.svscan/finish"), "#!/bin/sh\necho $1 >finished\n");
    let a = service(&scratch, "a", "exec sleep 1000");
    let mut command = scratch.command("env");
    command.args(["--default-signal=PIPE", "svscan", SCANNED]).env("SCRATCH", scratch.path());
    let svscan = Running(command.spawn().expect("start svscan"));
    let pid = a.up();
    let (svscan_pid, supervise) = (svscan.0.id() as i32, parent_of(pid).expect("its supervise"));
    for pid in [svscan_pid, supervise] {
        kill(Pid::from_raw(pid), Signal::SIGPIPE).expect("send a signal");
    }
    a.svc("-t");
    a.another(pid);
    kill(Pid::from_raw(svscan_pid), Signal::SIGTERM).expect("tell svscan to stop");
    assert_eq!(svscan.wait().code(), Some(0));
    let finished = std::fs::read_to_string(scratch.path().join(SCANNED).join("finished"));
    assert_eq!(finished.expect("what finish wrote"), "0\n");
}

#[test]
fn files_limited_in_size_end_no_supervise() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", "exec sleep 1000");
    let supervise = web.supervise();
    // Until its child executes `run`, that child has the FIFOs open too, so that the service seems to be supervised.
    web.up();
    supervise.kill();
    let mut command = scratch.command("/bin/sh");
    command.args(["-c", "ulimit -f 0; exec supervise web"]).env("SCRATCH", scratch.path()).stderr(Stdio::null());
    let supervise = Running(command.spawn().expect("start supervise"));
    wait_until("it is in charge", || web.is_supervised());
    web.svc("-dx");
    assert_eq!(supervise.wait().code(), Some(0));
}

/// Otherwise an account that names a directory, a service or a file could forge messages of a program.
#[test]
fn no_name_makes_two_messages_of_one() {
    let forged = "x\nsvscan: fatal: unable to";
    let spelled = r"x\x0asvscan: fatal: unable to";
    for words in [
        &["multilog", "./no/NAME"][..],
        &["multilog", "=no/NAME"],
        &["supervise", "NAME"],
        &["svscan", "NAME"],
        &["svc", "-d", "NAME"],
        &["svlog", "./NAME"],
        &["logcompress", "zstd", "NAME"],
        &["setlock", "no/NAME", "true"],
        &["setuidgid", "NAME", "true"],
        &["envdir", "NAME", "true"],
        &["fghack", "NAME"],
        &["softlimit", "NAME"],
    ] {
        let scratch = Scratch::new();
        let words: Vec<String> = words.iter().map(|word| word.replace("NAME", forged)).collect();
        let outcome = scratch.outcome_of(scratch.command(&words[0]).args(&words[1..]));
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        assert!(!lines.is_empty() && outcome.stderr.contains(spelled), "{words:?}: {outcome:?}");
        let begins = format!("{}: ", words[0]);
        assert!(lines.iter().all(|line| line.starts_with(&begins)), "{words:?}: {outcome:?}");
    }
    // The program's messages name the directory that it works in.
    let scratch = Scratch::new();
    scratch.file(format!("{forged}/run"), "");
    let mut command = scratch.command("multilog");
    let outcome = scratch.outcome_of(command.arg("./no/main").current_dir(scratch.path().join(forged)));
    let place = scratch.path().canonicalize().unwrap().join(spelled).display().to_string();
    let said = format!(
        "multilog: fatal: unable to open directory ./no/main: file does not exist: \
         its parent directory does not exist (in {place})\n"
    );
    assert_eq!(outcome, fails(111, &said));
}
