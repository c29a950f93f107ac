//! envuidgid and setuidgid: accounts.

use std::fs;
use tests::{Scratch, differs, fails, is_root, prints};

/// The name, user number and group number of every account in the system's file, each name once.
fn accounts() -> Vec<(String, u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").expect("a system with accounts");
    let mut accounts: Vec<(String, u32, u32)> = Vec::new();
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let (Ok(uid), Ok(gid)) = (fields[2].parse(), fields[3].parse()) else { continue };
        if !accounts.iter().any(|(name, ..)| name == fields[0]) {
            accounts.push((fields[0].into(), uid, gid));
        }
    }
    accounts
}

#[test]
fn envuidgid_sets_two_numbers_and_nothing_else() {
    let scratch = Scratch::new();
    for (name, uid, gid) in accounts() {
        let mut command = scratch.command("envuidgid");
        command.args([&name, "/usr/bin/env"]).env_clear().env("UID", "old").env("GID", "old").env("HOME", "/h");
        let outcome = scratch.outcome_of(&mut command);
        let mut variables: Vec<&str> = outcome.stdout.lines().collect();
        variables.sort_unstable();
        assert_eq!(variables, [format!("GID={gid}"), "HOME=/h".into(), format!("UID={uid}")], "{name}");
    }
}

#[test]
fn envuidgid_changes_the_environment_only() {
    let scratch = Scratch::new();
    let mine = scratch.run("id");
    assert_eq!(scratch.run("envuidgid nobody id"), mine);
}

#[test]
fn an_account_that_is_not_there_is_named() {
    let scratch = Scratch::new();
    for program in ["envuidgid", "setuidgid"] {
        for name in ["no-such-account", "0", "1000:1000", "-z", "--", "''", "no-such:root"] {
            let hint = if name.starts_with(|first: char| first.is_ascii_digit()) {
                differs(": for numbers say :UID:GID, as in :1000:1000", "")
            } else {
                ""
            };
            let message = format!("{program}: fatal: unknown account {}{hint}\n", name.replace("''", ""));
            assert_eq!(scratch.run(&format!("{program} {name} echo never")), fails(111, &message));
        }
    }
}

#[test]
fn setuidgid_becomes_the_account_with_its_group_alone() {
    if !is_root() {
        return needs_root("setuidgid");
    }
    let scratch = Scratch::new();
    for (name, uid, gid) in accounts() {
        let show = "grep -E ^(Uid|Gid|Groups) /proc/self/status";
        let expected = format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\nGroups:\t{gid} \n");
        assert_eq!(scratch.run(&format!("setuidgid {name} {show}")), prints(&expected), "{name}");
    }
}

#[test]
fn setuidgid_leaves_the_environment_alone() {
    if !is_root() {
        return needs_root("setuidgid");
    }
    let scratch = Scratch::new();
    let mut command = scratch.command("setuidgid");
    command.args(["nobody", "/usr/bin/env"]).env_clear().env("HOME", "/root").env("USER", "root");
    let outcome = scratch.outcome_of(&mut command);
    let mut variables: Vec<&str> = outcome.stdout.lines().collect();
    variables.sort_unstable();
    assert_eq!(variables, ["HOME=/root", "USER=root"]);
}

#[test]
fn setuidgid_with_s_takes_all_groups_that_list_the_account() {
    if differs(false, true) {
        // The option is daemontools-encore's. The original takes it for the name of an account.
        let message = "setuidgid: fatal: unknown account -s\n";
        assert_eq!(Scratch::new().run("setuidgid -s root true"), fails(111, message));
        return;
    }
    if !is_root() {
        return needs_root("setuidgid -s");
    }
    let scratch = Scratch::new();
    for (name, ..) in accounts() {
        let id = |line: &str| {
            let mut groups: Vec<String> = scratch.run(line).stdout.split_whitespace().map(String::from).collect();
            groups.sort_unstable();
            groups
        };
        // The groups that a login would give the account, as id(1) reports them.
        assert_eq!(id(&format!("setuidgid -s {name} id -G")), id(&format!("id -G {name}")), "{name}");
    }
    let usage = "setuidgid: usage: setuidgid [ -s ] account child\n";
    for line in ["setuidgid -s", "setuidgid -s root"] {
        assert_eq!(scratch.run(line), fails(100, usage), "{line}");
    }
    assert_eq!(
        scratch.run("setuidgid -s no-such-account true").stderr,
        "setuidgid: fatal: unknown account no-such-account\n"
    );
}

/// Numbers that belong to no account.
const NUMBERS: (u32, u32) = (54_321, 54_322);

#[test]
fn two_numbers_are_an_account_that_need_not_be_there() {
    let (uid, gid) = NUMBERS;
    assert!(!accounts().iter().any(|(_, known, _)| *known == uid));
    let scratch = Scratch::new();
    let unknown = |program: &str, name: &str, more: &str| {
        fails(111, &format!("{program}: fatal: unknown account {name}{more}\n"))
    };
    let name = format!(":{uid}:{gid}");
    let outcome = scratch.run(&format!("envuidgid {name} printenv UID GID"));
    // runit's chpst accepts this too. The original takes it for the name of an account.
    assert_eq!(outcome, differs(prints(&format!("{uid}\n{gid}\n")), unknown("envuidgid", &name, "")));
    for program in ["envuidgid", "setuidgid"] {
        for name in
            [":", "::", ":1", ":1:", "::1", ":1:2:", ":1:2:x", ":root:root", ":-1:0", ":4294967295:0", ":0:4294967296"]
        {
            let more = differs(": not :UID:GID in numbers", "");
            assert_eq!(scratch.run(&format!("{program} {name} echo never")), unknown(program, name, more));
        }
    }
    if !is_root() {
        let refused = refused();
        let seen = scratch.run(&format!("setuidgid {name} echo never"));
        return assert_eq!(seen, differs(refused, unknown("setuidgid", &name, "")));
    }
    // Other groups of the calling process are dropped.
    let show = format!("setpriv --groups 7,8 setuidgid {name} grep -E '^(Uid|Gid|Groups)' /proc/self/status");
    let expected = format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\nGroups:\t{gid} \n");
    assert_eq!(scratch.shell(&show), differs(prints(&expected), unknown("setuidgid", &name, "")));
    let usage = "setuidgid: usage: setuidgid [ -s ] account child\n";
    let why = format!("setuidgid: -s takes the name of an account, as groups list names: {name}\n{usage}");
    let with_s = scratch.run(&format!("setuidgid -s {name} true"));
    assert_eq!(with_s, differs(fails(100, &why), unknown("setuidgid", "-s", "")));
}

#[test]
fn only_root_changes_to_an_account() {
    let refused = refused();
    for account in ["nobody", "root"] {
        let scratch = Scratch::new();
        let mut command = scratch.as_nobody("setuidgid");
        assert_eq!(scratch.outcome_of(command.args([account, "echo", "never"])), refused, "{account}");
    }
}

/// Without root, only this message can be seen. The rest is tested when the tests run as root.
fn needs_root(line: &str) {
    assert_eq!(Scratch::new().run(&format!("{line} nobody echo never")), refused());
}

/// What another account than root's is told. The original does not say what is missing.
fn refused() -> tests::Outcome {
    let cause = differs(": only root can change the account", "");
    fails(111, &format!("setuidgid: fatal: unable to setgid: permission denied{cause}\n"))
}
