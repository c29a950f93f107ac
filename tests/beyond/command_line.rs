//! What all programs have in common on their command lines: help, words of other supervisors, and durations.

use nix::libc::O_NONBLOCK;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tests::{Scratch, Service, fails, fifo, has, is_root, prints, skip, wait_until};

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
        // Only the first argument asks for help, whatever follows it.
        assert_eq!(scratch.run(&format!("{name} --help --version web")), help, "{name}");
        let version = prints(&format!("{name} (daemontools) {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(scratch.run(&format!("{name} --version")), version);
        let full = fails(111, &format!("{name}: fatal: unable to write output: out of disk space\n"));
        assert_eq!(scratch.shell(&format!("{name} --version >/dev/full")), full);
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "a program has done something");
}

/// The options that a manual page describes, as users type them: `-x`, `--long`.
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
        // Other accounts may be able to make a directory of that name in the current directory. `--help` must still ask
        // for help.
        let asked = scratch.shell(&format!("cd services && supervise {name}"));
        assert!(asked.code == 0 && asked.stdout.contains("supervise"), "{asked:?}");
        assert_eq!(scratch.shell(&format!("cd services && svc -t -W restarted ./{name}")), prints(""));
        assert_ne!(service.up(), pid);
    }
}

/// A directory whose FIFO this test reads in place of a supervise.
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
        // The original's output stays unchanged.
        assert_eq!(seen.stdout, format!("{word}: unable to chdir: file does not exist\n"));
        assert_eq!((seen.code, seen.stderr), (0, format!("svstat: {meant}\n")));
    }
    assert_eq!(heard(&mut web), "");
    // A word of another kind causes no guess, and a word that names a service is a service.
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
    let usage = "svc: usage: svc [ -udopchaitkxq12wRg+=lLs ] [ -W goal [ -T time ] ] service ...\n";
    for (word, command) in [
        ("-restart", "svc -t SERVICE"),
        ("--restart", "svc -t SERVICE"),
        ("--down", "svc -d SERVICE"),
        // Each of these letters is an option, but not one of the original's.
        ("-stop", "svc -d SERVICE"),
        ("-kill", "svc -k SERVICE"),
        ("-quit", "svc -q SERVICE"),
        ("-tail", "svlog SERVICE"),
    ] {
        let meant = format!("svc: {word} is no option: did you mean {command}?\n{usage}");
        assert_eq!(scratch.run(&format!("svc {word} web")), fails(100, &meant));
    }
    // The refused words sent nothing. These two are valid in the original, and keep their meaning.
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

/// Words that look like options behind a service. There they name services, and a message says so.
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
        // The original's output stays unchanged.
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
    // A service of that name is commanded.
    let mut service = listening(&scratch, "-d");
    assert_eq!(scratch.run("svc -t web -d"), prints(""));
    assert_eq!((heard(&mut web).as_str(), heard(&mut service).as_str()), ("t", "t"));
}

/// getopt, which the original uses, knows no long options, and its words name only a second dash.
#[test]
fn a_long_option_that_is_none_is_named_with_the_one_that_was_meant() {
    let scratch = Scratch::new();
    let usage = |name: &str| {
        let help = scratch.run(&format!("{name} --help")).stdout;
        format!("{name}: {}\n", help.lines().next().unwrap())
    };
    for name in ["setlock", "softlimit", "svctl", "svlog", "svup", "svwait"] {
        let refused = |said: &str| fails(100, &format!("{name}: illegal option {said}\n{}", usage(name)));
        assert_eq!(scratch.run(&format!("{name} --nonesuch")), refused("--nonesuch"));
        assert_eq!(scratch.run(&format!("{name} --hlep")), refused("--hlep: did you mean --help?"));
    }
    for (line, said) in [
        ("svlog --greep=x web", "--greep: did you mean --grep?"),
        ("svwait --timeou 5s up web", "--timeou: did you mean --timeout?"),
        ("svwait -a --help", "--help: it must be the first argument"),
        ("setlock -n --version", "--version: it must be the first argument"),
    ] {
        let name = line.split(' ').next().unwrap();
        assert_eq!(scratch.run(line), fails(100, &format!("{name}: illegal option {said}\n{}", usage(name))), "{line}");
    }
    // svc lists its options in place of its usage.
    let said = scratch.run("svc --nonesuch web");
    assert!(said.code == 100 && said.stderr.starts_with("svc: illegal option --nonesuch\nsvc options: "), "{said:?}");
}

/// Programs without options take such a word for what stands there, as the original's do.
#[test]
fn programs_without_options_take_a_long_one_for_a_name() {
    let scratch = Scratch::new();
    for (line, said) in [
        ("supervise --now", "unable to chdir to --now: file does not exist"),
        ("svscan --now", "unable to chdir to --now: file does not exist"),
        ("svok --now", "unable to chdir to --now: file does not exist"),
        ("envdir --now true", "unable to switch to directory --now: file does not exist"),
        ("envuidgid --now true", "unknown account --now"),
        ("setuidgid --now true", "unknown account --now"),
    ] {
        let outcome = scratch.run(line);
        let name = line.split(' ').next().unwrap();
        assert!(outcome.stderr.starts_with(&format!("{name}: fatal: {said}")), "{line}: {outcome:?}");
    }
    for line in ["tai64n --now", "tai64nlocal --now", "readproctitle --now"] {
        assert_eq!(scratch.run(line), prints(""), "{line}");
    }
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
        // A zero needs no unit, because it means the same in any.
        for nothing in ["0", "0s", "0ms"] {
            assert_eq!(scratch.run(&format!("{program} -T {nothing} {rest}")).code, 99, "{program} {nothing}");
        }
    }
    let words = "svwait: fatal: timeout 5: a number without a unit: say 5s or 5ms\n";
    assert_eq!(scratch.run("svwait --timeout=5 up web"), fails(100, words));
    assert_eq!(heard(&mut web), "uuu");
    // In a setting, a number without a unit counts milliseconds, as in s6.
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

/// On a terminal alone: programs take what svstat says on standard error for a failure.
#[test]
fn a_directory_that_was_never_supervised_is_explained_to_people() {
    if !has("script") {
        return skip("a terminal needs script");
    }
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "services/web", "exec sleep 1000");
    let never =
        "services/web was never supervised: does svscan run, and is there a link to it in the directory of svscan?";
    let none = "services is no service: it contains no run";
    for program in ["svc -u", "svstat"] {
        let name = program.split(' ').next().unwrap_or_default();
        for (service, words) in [("services/web", never), ("services", none)] {
            let line = format!("{program} {service}");
            let shown = scratch.on_terminal(&line);
            assert!(shown.contains(&format!("{name}: {words}\n")), "{line}: {shown:?}");
            let quiet = scratch.run(&line);
            assert!(!quiet.stderr.contains(words), "{line}: {quiet:?}");
        }
    }
    // A directory within a service is told which service it is in.
    let within = "services/web/env is no service: it contains no run: did you mean services/web?";
    scratch.dir("services/web/env");
    assert!(scratch.on_terminal("svc -u services/web/env").contains(within));
    let supervise = web.supervise();
    web.up();
    assert_eq!(scratch.on_terminal("svc -h services/web"), "");
    // svscan is told to be started where a supervise was in charge.
    supervise.kill();
    wait_until("it is gone", || !web.is_supervised());
    let ended = |directory: &str| {
        format!(
            "services/web has no supervise: if svscan does not run (ps -e | grep svscan), start it: svscanboot {directory}\n"
        )
    };
    for program in ["svc -h", "svstat"] {
        let line = format!("{program} services/web");
        let shown = scratch.on_terminal(&line);
        assert!(shown.contains(&ended("DIRECTORY")), "{line}: {shown:?}");
        assert!(!scratch.run(&line).stderr.contains("svscanboot"), "{line}");
    }
    scratch.dir("services/.svscan");
    let directory = scratch.path().join("services");
    let shown = scratch.on_terminal("svc -h services/web");
    assert!(shown.contains(&ended(&directory.display().to_string())), "{shown:?}");
}

/// Users name the file that they have written.
#[test]
fn a_file_of_a_service_is_told_the_service() {
    let scratch = Scratch::new();
    let _web = Service::new(&scratch, "services/web", "exec sleep 1000");
    let meant = "services/web/run is a file: did you mean services/web?\n";
    let warning = "svc: warning: unable to chdir to services/web/run: not a directory\n";
    assert_eq!(scratch.run("svc -t services/web/run"), fails(0, &format!("{warning}svc: {meant}")));
    let seen = scratch.run("svstat services/web/run");
    // The original's output stays unchanged.
    assert_eq!(seen.stdout, "services/web/run: unable to chdir: not a directory\n");
    assert_eq!((seen.code, seen.stderr), (0, format!("svstat: {meant}")));
    // No other file is.
    scratch.file("services/file", "");
    assert_eq!(scratch.run("svstat services/file").stderr, "");
}

/// What the system denies to another account is said to be another's.
#[test]
fn what_belongs_to_another_account_is_said_to() {
    if !is_root() {
        return skip("another account needs root");
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    scratch.dir("closed/web");
    scratch.mode("closed", 0o700);
    let _supervise = service.supervise();
    service.up();
    let whose = |what: &str| format!("access denied: {what} belongs to root, and this is nobody\n");
    for (line, code, message) in [
        ("svc -t web", 0, format!("svc: warning: unable to control web: {}", whose("supervise"))),
        ("svc -t closed", 0, format!("svc: warning: unable to chdir to closed: {}", whose("it"))),
        ("svc -t closed/web", 0, format!("svc: warning: unable to chdir to closed/web: {}", whose("closed"))),
        ("svok web", 111, format!("svok: fatal: unable to open web/supervise/ok: {}", whose("supervise"))),
        ("svup web", 111, format!("svup: fatal: unable to open web/supervise/ok: {}", whose("supervise"))),
        ("svup closed", 111, format!("svup: fatal: unable to chdir to closed: {}", whose("it"))),
        ("svwait up web", 111, format!("svwait: fatal: unable to watch web/supervise: {}", whose("it"))),
        ("svwait up closed/web", 111, format!("svwait: fatal: unable to chdir to closed/web: {}", whose("closed"))),
        ("envdir closed true", 111, format!("envdir: fatal: unable to switch to directory closed: {}", whose("it"))),
    ] {
        let mut words = line.split(' ');
        let outcome = scratch.outcome_of(scratch.as_nobody(words.next().unwrap()).args(words));
        assert_eq!(outcome, fails(code, &message), "{line}");
    }
    // The original's line of svstat stays unchanged.
    let seen = scratch.outcome_of(scratch.as_nobody("svstat").arg("web"));
    assert_eq!(seen, prints("web: unable to open supervise/ok: access denied\n"));
    for name in ["svc", "svstat", "svwait"] {
        let program = scratch.path().join(name);
        let outcome = scratch.shell(&format!("cd closed && exec setuidgid nobody {} up web", program.display()));
        let message = format!("{name}: fatal: unable to open current directory: {}", whose("it"));
        assert_eq!(outcome, fails(111, &message));
    }
}
