//! Lines that multilog sends elsewhere: to standard output or to syslog.

use std::fs;
use std::io::{PipeReader, Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::thread::spawn;
use std::time::Duration;
use tests::{Daemon, Outcome, Running, Scratch, prints, wait_until};

/// The content of one message.
fn receive(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut message = [0; 4096];
    let length = loop {
        match socket.recv(&mut message) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            received => break received.expect("a message"),
        }
    };
    String::from_utf8(message[..length].to_vec()).expect("text")
}

/// The header of a message without its time, and its text.
fn parts(message: &str) -> (String, String) {
    let words: Vec<&str> = message.splitn(8, ' ').collect();
    let time = words[1];
    assert!(time.len() == 27 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{message}");
    (format!("{} {}", words[0], words[3..7].join(" ")), words[7].to_string())
}

fn current(scratch: &Scratch, directory: &str) -> String {
    fs::read_to_string(scratch.path().join(directory).join("current")).expect("a log file")
}

#[test]
fn several_multilogs_never_mix_their_lines_in_a_pipe() {
    let scratch = Scratch::new();
    let outcome = scratch.shell(
        "for letter in a b c; do
            yes \"$(printf '%0333d' 7)\" | head -n 3000 | multilog \"p$letter\" o &
        done | sort | uniq -c | awk '{ print $1, length($2) }'",
    );
    assert_eq!(outcome, prints("3000 334\n3000 334\n3000 334\n"));
}

#[test]
fn without_a_reader_lines_are_counted_and_logged_all_the_same() {
    let scratch = Scratch::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    scratch.file("input", "a\nb\n");
    let input = fs::File::open(scratch.path().join("input")).unwrap();
    let mut multilog = scratch.command("multilog");
    let mut multilog = Daemon::start(multilog.args(["./log", "o"]).stdin(input).stdout(writer), &scratch);
    assert_eq!(multilog.wait(), 0);
    assert_eq!(multilog.errors(), "multilog: warning: dropped 2 lines for standard output: broken pipe\n");
    assert_eq!(current(&scratch, "log"), "a\nb\n");
}

fn read_all(mut reader: PipeReader) -> std::thread::JoinHandle<String> {
    spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read all");
        text
    })
}

#[test]
fn a_reader_that_sleeps_is_waited_for_and_the_rest_left_to_the_next_multilog() {
    let scratch = Scratch::new();
    let (input, mut feed) = std::io::pipe().unwrap();
    let (reader, output) = std::io::pipe().unwrap();
    let lines: String = (0..40_000).map(|number| format!("{number:09}\n")).collect();
    let fed = lines.clone();
    let feeder = spawn(move || feed.write_all(fed.as_bytes()).expect("feed it"));
    let start = || {
        let mut command = scratch.command("multilog");
        command.args(["s16000000", "./log", "o"]);
        command.stdin(input.try_clone().unwrap()).stdout(output.try_clone().unwrap());
        Daemon::start(&mut command, &scratch)
    };
    let mut first = start();
    wait_until("it complains", || first.errors().contains("nobody reads from standard output, pausing\n"));
    first.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(first.wait(), 0);
    let mut second = start();
    let read = read_all(reader);
    feeder.join().unwrap();
    drop((input, output));
    wait_until("it has read all", || current(&scratch, "log").len() >= lines.len());
    assert_eq!(second.wait(), 0);
    assert_eq!(current(&scratch, "log"), lines);
    // Some lines may appear twice, but none is missing.
    let shown = read.join().unwrap();
    let mut shown: Vec<&str> = shown.lines().collect();
    shown.sort_unstable();
    shown.dedup();
    assert!(shown.into_iter().eq(lines.lines()));
}

#[test]
fn syslog_gets_lines_with_time_host_and_service() {
    let scratch = Scratch::new();
    scratch.dir("web/log");
    let socket = UnixDatagram::bind(scratch.path().join("socket")).unwrap();
    let script = "cd web/log && printf 'a\\n\\nno\\n' | multilog t ./main -no x -no u../../socket,local0.err 'p> ' u../../socket,it";
    assert_eq!(scratch.shell(script).code, 0);
    let expected =
        [("<131>1 web - - -", "a"), ("<30>1 it - - -", "> a"), ("<131>1 web - - -", ""), ("<30>1 it - - -", "> ")];
    let mut got: Vec<_> = (0..4).map(|_| parts(&receive(&socket))).collect();
    let mut expected = expected.map(|(header, text)| (header.to_string(), text.to_string()));
    // Each target receives the lines in order.
    got.sort_by(|one, other| one.0.cmp(&other.0));
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(got, expected);
}

#[test]
fn syslog_over_udp() {
    let scratch = Scratch::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let address = socket.local_addr().unwrap();
    let long = "x".repeat(1500);
    let outcome = scratch.shell(&format!("printf 'a\\n{long}\\n' | multilog u{address},name"));
    assert_eq!(outcome, prints(""));
    for text in ["a".to_string(), format!("{}...", "x".repeat(1000))] {
        let mut message = [0; 4096];
        let length = loop {
            match socket.recv(&mut message) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                received => break received.expect("a message"),
            }
        };
        let (header, got) = parts(std::str::from_utf8(&message[..length]).unwrap());
        assert_eq!((header.as_str(), got), ("<30>1 name - - -", text));
    }
}

#[test]
fn a_syslog_that_is_not_there_stops_nothing() {
    let scratch = Scratch::new();
    let outcome = scratch.shell("printf 'a\\nb\\nc\\n' | multilog ./log u./none o");
    let stderr = "multilog: warning: dropped 1 line for ./none: file does not exist\n\
        multilog: warning: dropped 2 lines for ./none\n";
    assert_eq!(outcome, Outcome { code: 0, stdout: "a\nb\nc\n".into(), stderr: stderr.into() });
    assert_eq!(current(&scratch, "log"), "a\nb\nc\n");
}

#[test]
fn a_restarted_syslog_is_found_again() {
    let scratch = Scratch::new();
    let path = scratch.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut multilog = scratch.command("multilog");
    let mut multilog = multilog.args(["u./socket"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = multilog.stdin.take().unwrap();
    let running = Running(multilog);
    input.write_all(b"a\n").unwrap();
    assert_eq!(parts(&receive(&socket)).1, "a");
    // A process that another test has forked at this moment still has the socket.
    let other = UnixDatagram::unbound().unwrap();
    other.connect(&path).unwrap();
    drop(socket);
    wait_until("the socket is gone", || other.send(b"x").is_err());
    fs::remove_file(&path).unwrap();
    let socket = UnixDatagram::bind(&path).unwrap();
    input.write_all(b"b\n").unwrap();
    assert_eq!(parts(&receive(&socket)).1, "b");
    drop(input);
    assert_eq!(running.wait().code(), Some(0));
}

fn drain(socket: &UnixDatagram) -> usize {
    socket.set_nonblocking(true).unwrap();
    std::iter::from_fn(|| socket.recv(&mut [0; 4096]).ok()).count()
}

fn dropped(errors: &str) -> usize {
    let number =
        |line: &str| line.strip_prefix("multilog: warning: dropped ")?.split(' ').next()?.parse::<usize>().ok();
    errors.lines().filter_map(number).sum()
}

#[test]
fn a_syslog_that_does_not_read_stops_nothing_and_all_that_it_misses_is_counted() {
    let scratch = Scratch::new();
    let socket = UnixDatagram::bind(scratch.path().join("socket")).unwrap();
    let outcome = scratch.shell("seq 5000 | multilog ./log u./socket");
    assert_eq!(outcome.code, 0);
    assert_eq!(current(&scratch, "log").lines().count(), 5000);
    let received = drain(&socket);
    assert!(received > 0);
    assert_eq!(received + dropped(&outcome.stderr), 5000, "{outcome:?}");
}

#[test]
fn a_processor_gets_the_signals_it_had() {
    let scratch = Scratch::new();
    // If SIGPIPE were blocked or ignored, `yes` would not be killed by it but write a message.
    let processor = "{ yes; } 2>complaints | head -n 1 >first; cat";
    let outcome =
        scratch.shell(&format!("seq 2000 | multilog s4096 '!{processor}' ./log && cat log/complaints log/@*.s"));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert!(outcome.stdout.starts_with("1\n2\n3\n"), "{outcome:?}");
}
