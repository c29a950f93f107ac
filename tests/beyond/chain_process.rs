//! What chain programs say about a process beyond what the original's can: hard limits, groups, priorities, its directory
//! and its terminal.

use tests::{Outcome, Scratch, fails, has, is_root, prints, skip};

/// The soft and hard limit on open files that a program sees after `softlimit OPTIONS`, which had 40 and 50.
fn open_files(scratch: &Scratch, options: &str) -> Outcome {
    let show = "prlimit --nofile -o SOFT,HARD --noheadings --raw";
    scratch.shell(&format!("prlimit --nofile=40:50 softlimit {options} {show}"))
}

#[test]
fn softlimit_sets_the_hard_limit_that_stands_behind_a_colon() {
    let scratch = Scratch::new();
    for (options, shown) in [
        ("-o 30:45", "30 45\n"),
        ("-o30:45", "30 45\n"),
        ("-o 45:45", "45 45\n"),
        ("-o :45", "40 45\n"),
        ("-o :35", "35 35\n"),
        ("-o :50", "40 50\n"),
        ("-o unlimited", "50 50\n"),
        ("-o 30:45 -o 99", "45 45\n"),
        ("-o 30:45 -o =", "45 45\n"),
        ("-c 0:0 -o 30:45", "30 45\n"),
    ] {
        assert_eq!(open_files(&scratch, options), prints(shown), "{options}");
    }
    let show = "prlimit --core -o SOFT,HARD --noheadings --raw";
    assert_eq!(scratch.run(&format!("softlimit -c 64k:1M {show}")), prints("65536 1048576\n"));
}

#[test]
fn a_hard_limit_that_cannot_be_raised_is_said() {
    let scratch = Scratch::new();
    let refused = |why: &str| {
        let words = "softlimit: fatal: unable to raise hard limit RLIMIT_NOFILE to";
        fails(111, &format!("{words} unlimited: permission denied: {why}\n"))
    };
    let mut command = scratch.as_nobody("softlimit");
    let outcome = scratch.outcome_of(command.args(["-o", "40:50", "./softlimit", "-o", "40:unlimited", "true"]));
    assert_eq!(outcome, refused("only root can raise it"));
    if is_root() {
        // The kernel allows that to no account.
        assert_eq!(open_files(&scratch, "-o 30:unlimited"), refused("fs.nr_open may be lower"));
    }
    let usage = scratch.run("softlimit").stderr;
    for (limit, why) in [
        ("9:5", "the soft limit is above the hard one"),
        ("5:", "say a number without a unit, or ="),
        (":", "say a number without a unit, or ="),
        ("=:5", "say a number without a unit, or ="),
        ("1:2:3", "say a number without a unit, or ="),
    ] {
        let said = format!("softlimit: -o {limit} is no limit: {why}\n{usage}");
        assert_eq!(scratch.run(&format!("softlimit -o {limit} true")), fails(100, &said), "{limit}");
    }
}

#[test]
fn softlimit_sets_each_limit_that_linux_has() {
    let scratch = Scratch::new();
    for (option, name) in [("-e", "nice"), ("-i", "sigpending"), ("-q", "msgqueue"), ("-R", "rtprio"), ("-y", "rttime")]
    {
        let show = format!("prlimit --{name} -o SOFT,HARD --noheadings --raw");
        assert_eq!(scratch.run(&format!("softlimit {option} 0:0 {show}")), prints("0 0\n"), "{option}");
    }
}

/// The group of a program that runs as this account, and all its groups.
fn groups(scratch: &Scratch, account: &str) -> (u32, Vec<u32>) {
    let outcome = scratch.shell(&format!("setuidgid {account} sh -c 'id -g; id -G'"));
    assert_eq!(outcome.stderr, "", "{account}");
    let mut numbers = outcome.stdout.split_whitespace().map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.collect())
}

fn number_of(group: &str) -> u32 {
    let line = Scratch::new().run(&format!("getent group {group}")).stdout;
    line.split(':').nth(2).unwrap().parse().unwrap()
}

#[test]
fn setuidgid_takes_the_groups_that_follow_the_account() {
    let scratch = Scratch::new();
    if !is_root() {
        return skip("needs root");
    }
    let (daemon, mail) = (number_of("daemon"), number_of("mail"));
    for (account, expected) in
        [("nobody:daemon", vec![daemon]), ("nobody:mail:daemon", vec![mail, daemon]), (":65534:12:13", vec![12, 13])]
    {
        assert_eq!(groups(&scratch, account), (expected[0], expected), "{account}");
    }
    // A login gives the account its own group, and those that list it.
    let (group, with_s) = groups(&scratch, "-s nobody:mail:daemon");
    let login = groups(&scratch, "-s nobody").1.into_iter().filter(|group| ![mail, daemon].contains(group));
    let own = groups(&scratch, "nobody").0;
    let others: Vec<u32> = login.filter(|group| *group != own).collect();
    assert_eq!((group, with_s), (mail, [&[mail, daemon], &others[..]].concat()));
    let ids = scratch.run("envuidgid nobody:daemon printenv GID");
    assert_eq!(ids, prints(&format!("{daemon}\n")));
    for (word, what) in [
        ("nobody:", "group "),
        ("nobody::daemon", "group "),
        ("nobody:no-such", "group no-such"),
        ("nobody:daemon:no-such", "group no-such"),
        ("nobody:1", "group 1: for numbers say :UID:GID, as in :1000:1000"),
        ("no-such:daemon", "account no-such:daemon"),
    ] {
        for program in ["setuidgid", "envuidgid"] {
            let said = format!("{program}: fatal: unknown {what}\n");
            assert_eq!(scratch.run(&format!("{program} {word} echo never")), fails(111, &said), "{word}");
        }
    }
}

#[test]
fn setpriority_sets_what_it_is_told_and_leaves_the_rest() {
    let scratch = Scratch::new();
    let (policy, io, score) = ("chrt -p $$ | head -n 1", "ionice -p $$", "cat /proc/self/oom_score_adj");
    let shown = |options: &str, show: &str| {
        let outcome = scratch.shell(&format!("setpriority {options} sh -c '{show}'"));
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{options}");
        outcome.stdout.trim().rsplit("policy: ").next().unwrap().to_string()
    };
    for (options, show, expected) in [
        ("-n 15", "nice", "15"),
        ("-n19", "nice", "19"),
        ("-n 14 -n 15", "nice", "15"),
        ("-c batch", policy, "SCHED_BATCH"),
        ("-c idle", policy, "SCHED_IDLE"),
        ("-i idle", io, "idle"),
        ("-i best-effort:6", io, "best-effort: prio 6"),
        ("-i best-effort", io, "best-effort: prio 4"),
        ("-o 1000", score, "1000"),
        ("-o 999 -n 16 -c batch -i idle", &format!("nice; {policy}; {io}; {score}"), "SCHED_BATCH\nidle\n999"),
    ] {
        assert_eq!(shown(options, show), expected, "{options}");
    }
    for (options, show) in [("-n 15", policy), ("-n 15", score), ("-c batch", "nice"), ("-o 1000", io)] {
        assert_eq!(shown(options, show), shown("", show), "{options}");
    }
    // The nice value is not added to the one before.
    assert_eq!(scratch.run("nice -n 3 setpriority -n 15 nice"), prints("15\n"));
}

#[test]
fn setpriority_takes_real_time_where_the_system_allows_it() {
    let scratch = Scratch::new();
    if scratch.run("chrt -f 3 true").code != 0 || scratch.run("ionice -c 1 -n 2 true").code != 0 {
        return;
    }
    for (options, show, expected) in [
        ("-c fifo:3", "chrt -p $$", "SCHED_FIFO\n"),
        ("-c rr:4", "chrt -p $$", "SCHED_RR\n"),
        ("-c rr:4", "chrt -p $$", "priority: 4\n"),
        ("-i realtime:2", "ionice -p $$", "realtime: prio 2\n"),
    ] {
        let outcome = scratch.shell(&format!("setpriority {options} sh -c '{show}'"));
        assert!(outcome.stdout.contains(expected), "{options}: {outcome:?}");
    }
}

#[test]
fn a_priority_that_cannot_be_had_is_said_and_the_program_does_not_run() {
    let scratch = Scratch::new();
    let right = "only root can take more than it has";
    for (options, words) in [
        ("-n -20", "nice value -20: access denied"),
        ("-c fifo:1", "scheduling policy fifo:1: permission denied"),
        ("-i realtime", "I/O class realtime: permission denied"),
        ("-o -1000", "score -1000: access denied"),
    ] {
        let mut command = scratch.as_nobody("setpriority");
        let outcome = scratch.outcome_of(command.args(options.split(' ')).args(["echo", "never"]));
        assert_eq!(outcome, fails(111, &format!("setpriority: fatal: unable to set {words}: {right}\n")), "{options}");
    }
    let usage = scratch.run("setpriority").stderr;
    assert!(usage.starts_with("setpriority: usage: setpriority [ -n nice ]"), "{usage}");
    for (options, why) in [
        ("-n 20", "-n 20 is no nice value: say -20 to 19"),
        ("-n x", "-n x is no nice value: say -20 to 19"),
        ("-o never", "-o never is no score: say -1000 to 1000"),
        ("-c fifo", "-c fifo is no scheduling policy: say other, batch, idle, fifo:1 to fifo:99, or rr:1 to rr:99"),
        ("-i 3", "-i 3 is no I/O class: say none, idle, best-effort:0 to best-effort:7, or realtime:0 to realtime:7"),
        ("-z", "illegal option -- z"),
    ] {
        let outcome = scratch.run(&format!("setpriority {options} echo never"));
        assert_eq!(outcome, fails(100, &format!("setpriority: {why}\n{usage}")), "{options}");
    }
    assert_eq!(
        scratch.run("setpriority -n"),
        fails(100, &format!("setpriority: option requires an argument -- n\n{usage}"))
    );
}

#[test]
fn indir_runs_a_program_in_a_directory() {
    let scratch = Scratch::new();
    scratch.script("inner/tool", "#!/bin/sh\npwd -P\n");
    std::os::unix::fs::symlink("inner", scratch.path().join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", scratch.path().join("dangling")).unwrap();
    let inner = format!("{}\n", scratch.path().canonicalize().unwrap().join("inner").display());
    for dir in ["inner", "./inner/", "link", inner.trim_end()] {
        assert_eq!(scratch.run(&format!("indir {dir} ./tool")), prints(&inner), "{dir}");
    }
    assert_eq!(scratch.run("indir inner indir .. indir link ./tool"), prints(&inner));
    for (dir, why) in [
        ("''", "file does not exist"),
        ("nosuch", "file does not exist"),
        ("nosuch/inner", "file does not exist: its parent directory does not exist"),
        ("dangling", "file does not exist: it is a link to nothing"),
        ("inner/tool", "not a directory"),
    ] {
        let said = format!("indir: fatal: unable to switch to directory {}: {why}\n", dir.replace("''", ""));
        assert_eq!(scratch.run(&format!("indir {dir} echo never")), fails(111, &said), "{dir}");
    }
    for line in ["indir", "indir inner"] {
        assert_eq!(scratch.run(line), fails(100, "indir: usage: indir dir child\n"));
    }
}

/// Runs lines of Python with a terminal at `path`. `said(last)` is what was written to it, up to these last words.
fn with_terminal(lines: &str) -> Outcome {
    let scratch = Scratch::new();
    let begin = "import os, subprocess, select\nmaster, slave = os.openpty()\npath = os.ttyname(slave)\n\
                 def said(last):\n    text = ''\n    while not text.endswith(last):\n        \
                 text += os.read(master, 4096).decode().replace('\\r', '')\n    return text\n\
                 def run(*words, **more):\n    return subprocess.run(words, stderr=subprocess.PIPE, text=True, **more)\n";
    scratch.outcome_of(scratch.command("python3").args(["-c", &format!("{begin}{lines}")]))
}

#[test]
fn pgrphack_gives_a_session_its_terminal() {
    if !has("python3") {
        return;
    }
    let show = "tty; [ $(cut -d\" \" -f6 /proc/$$/stat) = $$ ] && echo leads; ps -o tty= -p $$; echo error >&2; \
                ls /proc/self/fd | wc -l; cat /dev/null";
    let outcome = with_terminal(&format!(
        "done = run('pgrphack', '-t', path, 'sh', '-c', '{show}')\n\
         name = path.removeprefix('/dev/')\n\
         assert said('\\n4\\n') == f'{{path}}\\nleads\\n{{name}}\\nerror\\n4\\n', (done, path)\n\
         print(done.returncode, done.stderr)"
    ));
    assert_eq!(outcome, prints("0 \n"));
}

#[test]
fn pgrphack_takes_no_terminal_away_and_says_what_it_lacks() {
    if !has("python3") {
        return;
    }
    let refused = "pgrphack: fatal: unable to take terminal {path}: permission denied";
    let outcome = with_terminal(&format!(
        "first = subprocess.Popen(['pgrphack', '-t', path, 'sh', '-c', 'echo has it; exec sleep 1000'])\n\
         assert said('has it\\n') == 'has it\\n'\n\
         second = run('pgrphack', '-t', path, 'echo', 'never')\n\
         assert second.stderr == f'{refused}: it is that of another session, or this session has one\\n', second\n\
         first.kill()\nfirst.wait()\n\
         third = run('pgrphack', '-t', path, 'echo', 'never', preexec_fn=os.setpgrp)\n\
         assert third.stderr == f'{refused}: this process leads a group, but no session\\n', third\n\
         fourth = run('pgrphack', '-t', path, 'no-such-program')\n\
         assert fourth.stderr == 'pgrphack: fatal: unable to run no-such-program: file does not exist\\n', fourth\n\
         fifth = run('pgrphack', '-t', path)\n\
         assert fifth.stderr == 'pgrphack: usage: pgrphack [ -t terminal ] child\\n', fifth\n\
         print([done.returncode for done in [second, third, fourth, fifth]], select.select([master], [], [], 0)[0])"
    ));
    assert_eq!(outcome, prints("[111, 111, 111, 100] []\n"));
}
