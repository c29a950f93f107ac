//! What all programs that execute another program have in common: usage, the search in PATH, and what the other program
//! inherits.

use tests::{Scratch, Service, differs, fails, is_root, prints, wait_until};

/// A command line of each program that changes nothing which the tests below examine.
fn harmless() -> Vec<&'static str> {
    let mut forms = vec!["envdir empty", "envuidgid root", "softlimit -c=", "setlock lock", "pgrphack", "fghack"];
    if is_root() {
        forms.push("setuidgid root");
    }
    forms
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.dir("empty");
    scratch
}

fn pgrphack_usage() -> &'static str {
    differs("pgrphack: usage: pgrphack [ -t terminal ] child\n", "pgrphack: usage: pgrphack child\n")
}

#[test]
fn without_a_program_they_say_how_they_are_used() {
    // The limits of newer systems are ours.
    let more = differs("[-e nice] [-i signals] [-q queuebytes] [-R rtprio] [-y rtusecs] ", "");
    let softlimit = format!(
        "softlimit: usage: softlimit [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes] \
         [-m membytes] [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] {more}child\n"
    );
    let softlimit = softlimit.as_str();
    let setlock = "setlock: usage: setlock [ -nNxX ] file program [ arg ... ]\n";
    // -s is daemontools-encore's.
    let setuidgid =
        differs("setuidgid: usage: setuidgid [ -s ] account child\n", "setuidgid: usage: setuidgid account child\n");
    for (line, code, usage) in [
        ("envdir", 111, "envdir: usage: envdir dir child\n"),
        ("envdir dir", 111, "envdir: usage: envdir dir child\n"),
        ("envuidgid", 100, "envuidgid: usage: envuidgid account child\n"),
        ("envuidgid root", 100, "envuidgid: usage: envuidgid account child\n"),
        ("setuidgid", 100, setuidgid),
        ("setuidgid root", 100, setuidgid),
        ("softlimit", 100, softlimit),
        ("softlimit --", 100, softlimit),
        ("softlimit -c0", 100, softlimit),
        ("setlock", 100, setlock),
        ("setlock lock", 100, setlock),
        ("setlock -- lock", 100, setlock),
        ("fghack", 100, "fghack: usage: fghack child\n"),
        ("pgrphack", 100, pgrphack_usage()),
    ] {
        assert_eq!(Scratch::new().run(line), fails(code, usage), "{line}");
    }
}

#[test]
fn a_program_that_cannot_be_run_is_named_with_the_reason() {
    let scratch = scratch();
    scratch.file("plain", "not executable");
    scratch.script("text", "echo no interpreter is named");
    scratch.script("orphan", "#!/no/such/interpreter\n");
    for form in harmless() {
        let name = form.split(' ').next().expect("a name");
        for (program, reason) in [
            ("nosuch", "file does not exist"),
            ("./nosuch", "file does not exist"),
            ("./plain", differs("access denied: it is not executable (chmod +x)", "access denied")),
            ("./empty", differs("access denied: it is no regular file", "access denied")),
            ("./text", differs("exec format error: it does not begin with #! and is no program", "exec format error")),
            // The file that does not exist is the interpreter.
            ("./orphan", differs("interpreter /no/such/interpreter does not exist", "file does not exist")),
            ("./plain/x", "not a directory"),
            ("--", differs("file does not exist: a program is expected here, not an option", "file does not exist")),
        ] {
            if (name, program) == ("softlimit", "--") {
                continue; // There `--` ends the options.
            }
            let message = format!("{name}: fatal: unable to run {program}: {reason}\n");
            assert_eq!(scratch.run(&format!("{form} {program}")), fails(111, &message), "{form} {program}");
        }
        // An empty name stands for the directory itself, in whichever part of PATH.
        let message = format!("{name}: fatal: unable to run : access denied\n");
        assert_eq!(scratch.run(&format!("{form} ''")), fails(111, &message), "{form} ''");
    }
}

#[test]
fn a_name_is_looked_for_in_every_part_of_path() {
    let scratch = scratch();
    scratch.script("here", "#!/bin/sh\necho ran here\n");
    scratch.script("has/prog", "#!/bin/sh\necho ran\n");
    scratch.file("denies/prog", "not executable");
    scratch.dir("folder/prog");
    scratch.script("text/prog", "no interpreter\n");
    scratch.dir("loop");
    std::os::unix::fs::symlink("prog", scratch.path().join("loop/prog")).unwrap();
    let cannot =
        |program: &str, reason: &str| fails(111, &format!("pgrphack: fatal: unable to run {program}: {reason}\n"));
    let closed = differs("access denied: denies/prog: it is not executable (chmod +x)", "access denied");
    let no_script =
        differs("exec format error: text/prog: it does not begin with #! and is no program", "exec format error");
    for (path, program, expected) in [
        ("has", "prog", prints("ran\n")),
        ("empty:has", "prog", prints("ran\n")),
        ("denies:has", "prog", prints("ran\n")),
        ("folder:has", "prog", prints("ran\n")),
        ("nosuch:has:denies", "prog", prints("ran\n")),
        ("denies:empty", "prog", cannot("prog", closed)),
        ("empty:denies", "prog", cannot("prog", closed)),
        ("empty:nosuch", "prog", cannot("prog", "file does not exist")),
        // Any other error ends the search.
        ("text:has", "prog", cannot("prog", no_script)),
        ("loop:has", "prog", cannot("prog", "symbolic link loop")),
        ("here:has", "prog", cannot("prog", "not a directory")),
        // An empty part of PATH is the current directory.
        ("", "here", prints("ran here\n")),
        (":", "here", prints("ran here\n")),
        ("empty:", "here", prints("ran here\n")),
        (":empty", "here", prints("ran here\n")),
        ("empty::empty", "here", prints("ran here\n")),
        ("empty", "here", cannot("here", "file does not exist")),
        // A name with a slash is not searched.
        ("empty", "has/prog", prints("ran\n")),
    ] {
        let outcome = scratch.outcome_of(scratch.command("pgrphack").arg(program).env("PATH", path));
        assert_eq!(outcome, expected, "PATH={path} {program}");
    }
}

#[test]
fn without_path_it_is_looked_for_where_every_system_has_programs() {
    let scratch = scratch();
    for form in harmless() {
        let mut words = form.split(' ');
        let mut command = scratch.command(words.next().expect("a name"));
        let command = command.args(words).args(["echo", "found"]).env_remove("PATH");
        assert_eq!(scratch.outcome_of(command), prints("found\n"), "{form}");
    }
}

#[test]
fn the_search_uses_path_as_it_was_before_the_change() {
    let scratch = Scratch::new();
    scratch.file("env/PATH", "/nowhere");
    assert_eq!(scratch.run("envdir env printenv PATH"), prints("/nowhere\n"));
}

/// Prints what a process passes on to the program that it executes.
const PROBE: &str = "#!/bin/sh
grep -E '^(Sig(Blk|Ign|Cgt)|Uid|Gid|NoNewPrivs)' /proc/self/status
umask; pwd; ulimit -a
env | sort | grep -v '^[UG]ID='
";

#[test]
fn signals_limits_mask_environment_and_directory_are_passed_on_untouched() {
    let scratch = scratch();
    scratch.script("probe", PROBE);
    let ignore_all = "env --ignore-signal --block-signal";
    for signals in ["", "env --ignore-signal=PIPE --block-signal=USR1,TERM", ignore_all] {
        // `softlimit -c=` cannot raise this core limit.
        let prepare = format!("ulimit -c 0; umask 027; ulimit -S -n 100; exec {signals}");
        let bare = scratch.shell(&format!("{prepare} ./probe"));
        assert_eq!((bare.code, bare.stderr.as_str()), (0, ""));
        for form in harmless() {
            let through = scratch.shell(&format!("{prepare} {form} ./probe"));
            // If SIGCHLD is ignored, fghack cannot learn the exit code.
            let lost = (form, signals) == ("fghack", ignore_all);
            let expected = if lost { (111, "fghack: fatal: wait failed: no child processes\n") } else { (0, "") };
            assert_eq!((through.code, through.stderr.as_str()), expected, "{signals} {form}");
            assert_eq!(through.stdout, bare.stdout, "{signals} {form}");
        }
    }
}

/// If fifty services write their errors to one file, the account alone does not tell which of them cannot be started.
#[test]
fn in_a_service_directory_a_message_names_it_by_its_path() {
    let scratch = scratch();
    scratch.dir("web/empty");
    let service = Service::new(&scratch, "web", "exec setuidgid no-such-account true");
    let web = scratch.path().canonicalize().expect("a path").join("web").display().to_string();
    let place = differs(format!(" (in {web})"), String::new());
    for form in harmless() {
        let name = form.split(' ').next().expect("a name");
        let words = format!("{name}: fatal: unable to run nosuch: file does not exist{place}\n");
        assert_eq!(scratch.shell(&format!("cd web && {form} nosuch")), fails(111, &words));
    }
    // A usage message is about no service.
    assert_eq!(scratch.shell("cd web && pgrphack"), fails(100, pgrphack_usage()));
    let supervise = service.supervise();
    let words = format!("setuidgid: fatal: unknown account no-such-account{place}\n");
    wait_until("it says so", || supervise.errors().starts_with(&words));
}

#[test]
fn a_broken_pipe_kills_the_program_run_as_it_would_have_before() {
    let scratch = scratch();
    for form in harmless() {
        let outcome = scratch.shell(&format!("{{ {form} yes; echo $? >&2; }} | head -n 1"));
        // The code is 128 + SIGPIPE. fghack only says that it was a signal. With the original, fghack itself may hold a
        // copy of the pipe.
        let ended = if form == "fghack" { "fghack: fatal: child crashed\n111\n" } else { "141\n" };
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("y\n", ended), "{form}");
    }
}

#[test]
fn descriptors_are_passed_on_as_they_are_the_closed_ones_too() {
    let scratch = scratch();
    for closed in ["", "0<&-", "2>&-", "0<&- 2>&-"] {
        let list = |form: &str| scratch.shell(&format!("exec {form} ls /proc/self/fd {closed} 7</dev/null"));
        let bare = list("");
        assert!(bare.stdout.contains('7'), "{bare:?}");
        for form in harmless() {
            // These two programs add descriptors on purpose.
            if form != "fghack" && !form.starts_with("setlock") {
                assert_eq!(list(form), bare, "{closed} {form}");
            }
        }
    }
}

#[test]
fn they_run_one_another() {
    let scratch = scratch();
    let chain = harmless().join(" ");
    assert_eq!(scratch.run(&format!("{chain} sh -c exit\t7")).code, 7);
    assert_eq!(scratch.run(&format!("{chain} echo all")), prints("all\n"));
}
