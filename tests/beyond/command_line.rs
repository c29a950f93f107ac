//! What all programs have in common on their command lines: help, words of other supervisors, times.

use nix::libc::O_NONBLOCK;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tests::{Scratch, Service, fails, fifo, prints, wait_until};

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The names in `package/commands`.
fn commands() -> Vec<String> {
    let list = fs::read_to_string(workspace().join("package/commands")).unwrap();
    list.lines().map(String::from).collect()
}

#[test]
fn every_program_says_how_it_is_used_and_which_it_is() {
    let scratch = Scratch::new();
    let commands = commands();
    assert!(commands.len() > 20);
    for name in commands {
        let help = scratch.run(&format!("{name} --help"));
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{name}");
        let (usage, text) = help.stdout.split_once("\n\n").unwrap();
        assert!(usage.starts_with(&format!("usage: {name}")) && !usage.contains('\n'), "{usage}");
        assert!(text.contains("Exit codes") && text.ends_with(&format!("{name}(8) says more.\n")), "{name}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{name}: {text}");
        // The first word alone asks, whatever comes after it.
        assert_eq!(scratch.run(&format!("{name} --help --version web")), help, "{name}");
        let version = prints(&format!("{name} (daemontools) {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(scratch.run(&format!("{name} --version")), version);
        let full = fails(111, &format!("{name}: fatal: unable to write output: out of disk space\n"));
        assert_eq!(scratch.shell(&format!("{name} --version >/dev/full")), full);
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "a program has done something");
}

/// The options that a manual page describes, as they are typed: `-x`, `--long`.
fn documented(name: &str) -> Vec<String> {
    let page = fs::read_to_string(workspace().join(format!("man/{name}.8"))).unwrap();
    let items = page.lines().filter_map(|line| line.strip_prefix(".It Fl "));
    let flags = items.flat_map(|item| item.split(" Fl ")).filter_map(|flag| flag.split([' ', ',']).next());
    flags.map(|flag| format!("-{}", flag.replace("\\-", "-"))).collect()
}

#[test]
fn help_and_the_line_for_wrong_usage_list_all_options_of_the_manual() {
    let scratch = Scratch::new();
    let mut count = 0;
    for name in commands() {
        let help = scratch.run(&format!("{name} --help")).stdout;
        let (usage, text) = help.split_once("\n\n").unwrap();
        for option in documented(&name) {
            count += 1;
            let is_in = |text: &str| text.split([' ', ',', '[', '\n']).any(|word| word == option);
            assert!(is_in(text), "{name} {option}: {text}");
            let [b'-', letter] = option.as_bytes() else { continue };
            let bundles = usage.split(' ').filter_map(|word| word.trim_start_matches('[').strip_prefix('-'));
            assert!(bundles.into_iter().any(|bundle| bundle.contains(char::from(*letter))), "{name} {option}: {usage}");
        }
    }
    assert!(count >= 50, "{count} options found");
}

#[test]
fn a_service_may_be_called_help() {
    let scratch = Scratch::new();
    for name in ["--help", "--version"] {
        let service = Service::new(&scratch, &format!("services/{name}"), "exec sleep 1000");
        let _svscan = tests::Daemon::start(scratch.command("svscan").arg("services"), &scratch);
        let pid = service.up();
        let line = |name: &str, said: &str| format!("{name}: up (pid {pid}) {}", said.rsplit(") ").next().unwrap());
        let said = scratch.shell(&format!("cd services && svstat ./{name}")).stdout;
        assert_eq!(said, line(&format!("./{name}"), &said));
        // Others may be able to make a directory of that name where somebody asks.
        let asked = scratch.shell(&format!("cd services && supervise {name}"));
        assert!(asked.code == 0 && asked.stdout.contains("supervise"), "{asked:?}");
        assert_eq!(scratch.shell(&format!("cd services && svc -t -W restarted ./{name}")), prints(""));
        assert_ne!(service.up(), pid);
    }
}

/// A directory whose FIFO this test reads in the place of a supervise.
fn listening(scratch: &Scratch, name: &str) -> File {
    scratch.dir(format!("{name}/supervise"));
    let path = scratch.path().join(name).join("supervise/control");
    fifo(&path).unwrap();
    File::options().read(true).custom_flags(O_NONBLOCK).open(path).unwrap()
}

fn heard(fifo: &mut File) -> String {
    let mut bytes = [0; 100];
    let length = fifo.read(&mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[test]
fn words_of_other_supervisors_are_answered_with_what_they_are_called_here() {
    let scratch = Scratch::new();
    let mut web = listening(&scratch, "web");
    for (word, command) in [
        ("restart", "svc -t SERVICE"),
        ("start", "svc -u SERVICE"),
        ("up", "svc -u SERVICE"),
        ("stop", "svc -d SERVICE"),
        ("reload", "svc -h SERVICE"),
        ("once", "svc -o SERVICE"),
        ("status", "svstat SERVICE"),
        ("is-active", "svup SERVICE"),
        ("tail", "svlog SERVICE"),
        ("disable", "touch SERVICE/down"),
    ] {
        let meant = format!("{word} is no service here: did you mean {command}?");
        let warning = format!("svc: warning: unable to chdir to {word}: file does not exist\nsvc: {meant}\n");
        for line in [format!("svc {word} web"), format!("svc web {word}")] {
            assert_eq!(scratch.run(&line), fails(0, &warning), "{line}");
        }
        let seen = scratch.run(&format!("svstat {word}"));
        // What the original prints stays as it is.
        assert_eq!(seen.stdout, format!("{word}: unable to chdir: file does not exist\n"));
        assert_eq!((seen.code, seen.stderr), (0, format!("svstat: {meant}\n")));
    }
    assert_eq!(heard(&mut web), "");
    // Without such a word nothing is guessed, and where there is such a service it is one.
    let missing = "svc: warning: unable to chdir to wbe: file does not exist\n";
    assert_eq!(scratch.run("svc -t wbe web"), fails(0, missing));
    let mut service = listening(&scratch, "restart");
    assert_eq!(scratch.run("svc -t restart"), prints(""));
    assert_eq!((heard(&mut web).as_str(), heard(&mut service).as_str()), ("t", "t"));
    scratch.dir("log");
    let unsupervised = "svc: warning: unable to control log: file does not exist\n";
    assert_eq!(scratch.run("svc -u log"), fails(0, unsupervised));
}

#[test]
fn such_words_are_no_heaps_of_options_either() {
    let scratch = Scratch::new();
    let mut web = listening(&scratch, "web");
    let usage = "svc: usage: svc [ -udopchaitkxq12w+=lLs ] [ -W goal [ -T time ] ] service ...\n";
    for (word, command) in [
        ("-restart", "svc -t SERVICE"),
        ("--restart", "svc -t SERVICE"),
        ("--down", "svc -d SERVICE"),
        // Each of these letters is an option, but not of the original.
        ("-stop", "svc -d SERVICE"),
        ("-kill", "svc -k SERVICE"),
        ("-quit", "svc -q SERVICE"),
        ("-tail", "svlog SERVICE"),
    ] {
        let meant = format!("svc: {word} is no option: did you mean {command}?\n{usage}");
        assert_eq!(scratch.run(&format!("svc {word} web")), fails(100, &meant));
    }
    // Nothing was sent; these are the original's, and mean what they mean there.
    assert_eq!(scratch.run("svc -up web"), prints(""));
    assert_eq!(scratch.run("svc -hup web"), prints(""));
    assert_eq!(heard(&mut web), "uphup");
}

#[test]
fn a_terminal_is_told_what_letters_mean_that_spell_a_word() {
    if !tests::has("script") {
        return;
    }
    let scratch = Scratch::new();
    let mut web = listening(&scratch, "web");
    for (option, sent, said) in [
        ("-up", "up", "-up means -u -p: did you mean svc -u SERVICE? svc -c SERVICE undoes -p"),
        ("-hup", "hup", "-hup means -h -u -p: did you mean svc -h SERVICE? svc -c SERVICE undoes -p"),
        ("-pid", "pid", "-pid means -p -i -d: did you mean svstat SERVICE? svc -c SERVICE undoes -p"),
    ] {
        let shown = scratch.on_terminal(&format!("svc {option} web"));
        assert_eq!(shown, format!("svc: warning: {said}\n"));
        assert_eq!(heard(&mut web), sent);
    }
    for (options, sent) in [("-dx", "dx"), ("-ud", "ud"), ("-tu", "tu"), ("-u -p", "up")] {
        assert_eq!(scratch.on_terminal(&format!("svc {options} web")), "", "{options}");
        assert_eq!(heard(&mut web), sent);
    }
}

/// Services that look like options where the options are over.
#[test]
fn options_behind_a_service_are_told_their_place() {
    let scratch = Scratch::new();
    let mut web = listening(&scratch, "web");
    let place =
        |program: &str, word: &str| format!("{program}: {word} is no service here: options come before the services\n");
    let missed = format!("svc: warning: unable to chdir to -d: file does not exist\n{}", place("svc", "-d"));
    assert_eq!(scratch.run("svc web -d"), fails(0, &missed));
    assert_eq!(scratch.run("svc -s web -d"), fails(1, &missed));
    let waited = "svc: warning: unable to chdir to -W: file does not exist\n";
    let value = "svc: warning: unable to chdir to nowhere: file does not exist\n";
    assert_eq!(scratch.run("svc -u web -W nowhere"), fails(0, &format!("{waited}{}{value}", place("svc", "-W"))));
    assert_eq!(heard(&mut web), "u");
    for option in ["-l", "--json", "-n"] {
        let seen = scratch.run(&format!("svstat web {option}"));
        // What the original prints stays as it is.
        assert!(seen.stdout.ends_with(&format!("\n{option}: unable to chdir: file does not exist\n")), "{seen:?}");
        assert_eq!((seen.code, seen.stderr), (0, place("svstat", option)));
    }
    for option in ["-T", "--any"] {
        let missing = format!("svwait: fatal: unable to chdir to {option}: file does not exist\n");
        let told = fails(111, &format!("{missing}{}", place("svwait", option)));
        assert_eq!(scratch.run(&format!("svwait up web {option} 5s")), told);
    }
    let ignored = "svup: warning: -l is ignored: options come before the service\n";
    assert_eq!(scratch.run("svup web -l"), fails(100, ignored));
    assert_eq!(scratch.run("svup web other"), fails(100, ""));
    // Where there is such a service it is one.
    let mut service = listening(&scratch, "-d");
    assert_eq!(scratch.run("svc -t web -d"), prints(""));
    assert_eq!((heard(&mut web).as_str(), heard(&mut service).as_str()), ("t", "t"));
}

#[test]
fn a_time_without_a_unit_is_refused_with_both_ways_to_say_it() {
    let scratch = Scratch::new();
    let mut web = listening(&scratch, "web");
    for (program, rest) in [("svc", "-u -W up web"), ("svwait", "up web")] {
        for number in ["5", "5000"] {
            let words = format!("a number without a unit: say {number}s or {number}ms");
            let refused = fails(100, &format!("{program}: fatal: timeout {number}: {words}\n"));
            for option in ["-T ", "-T"] {
                assert_eq!(scratch.run(&format!("{program} {option}{number} {rest}")), refused);
            }
        }
        // 0 is as long as it is in any unit.
        for nothing in ["0", "0s", "0ms"] {
            assert_eq!(scratch.run(&format!("{program} -T {nothing} {rest}")).code, 99, "{program} {nothing}");
        }
    }
    let words = "svwait: fatal: timeout 5: a number without a unit: say 5s or 5ms\n";
    assert_eq!(scratch.run("svwait --timeout=5 up web"), fails(100, words));
    assert_eq!(heard(&mut web), "uuu");
    // In a setting a number is of milliseconds, as s6 has it.
    let service = Service::new(&scratch, "slow", "echo >>starts; exit 1").file("restart-delay", "3600000");
    let _supervise = service.supervise();
    wait_until("it waits", || scratch.run("svstat -l slow").stdout.contains("in 59m 59s"));
}

#[test]
fn what_waits_for_its_next_start_is_not_called_started() {
    let scratch = Scratch::new();
    for program in ["unused", "start"] {
        let service = Service::new(&scratch, program, "exit 1").script(program, "exit 0").file("restart-delay", "1h");
        let _supervise = service.supervise();
        wait_until("it waits", || !service.state("next-start").is_empty());
        let text = scratch.run(&format!("svstat -l {program}")).stdout;
        assert!(text.contains("\n    phase      waits\n") && text.contains("\n    next start "), "{text}");
        service.svc("-d");
        wait_until("it is down", || {
            scratch.run(&format!("svstat -l {program}")).stdout.contains("phase      stopped\n")
        });
    }
}
