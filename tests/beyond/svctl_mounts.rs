//! svctl where a service directory lies on a mount whose server does not answer.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};
use tests::{Outcome, Scratch, Service, is_root, skip, wait_until};

/// What svctl answers in a mount namespace where `remote` is a FUSE mount whose server never answers.
fn svctl(scratch: &Scratch, words: &str) -> Outcome {
    let mount = "exec 3<>/dev/fuse || exit; mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none remote";
    let script = format!("{mount} || exit; LC_ALL=C.UTF-8 exec timeout -s KILL 20 svctl {words}");
    scratch.outcome_of(scratch.command("unshare").args(["-m", "/bin/sh", "-c", &script]))
}

#[test]
fn a_service_that_does_not_answer_is_told_and_the_others_are_shown() {
    if !is_root() || !std::fs::exists("/dev/fuse").is_ok_and(|there| there) {
        return skip("only root mounts, and only where there is FUSE");
    }
    let scratch = Scratch::new();
    ["remote", "sv"].iter().for_each(|name| scratch.dir(name));
    let web = Service::new(&scratch, "sv/web", "exec sleep 1000");
    Service::new(&scratch, "sv/half", "exec sleep 1000");
    symlink("../remote/x", scratch.path().join("sv/x")).unwrap();
    symlink("../../remote/log", web.path("../half/log")).unwrap();
    let _supervise = web.supervise();
    web.up();
    wait_until("it is ready", || !web.state("ready").is_empty());
    let begin = Instant::now();
    let table = svctl(&scratch, "-d sv");
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert!(table.code == 0 && table.stdout.contains("● web      up "), "{table:?}");
    for name in ["half", "x"] {
        let row = table.stdout.lines().find(|line| line.contains(&format!(" {name} "))).unwrap_or_default();
        assert!(row.contains(" unknown ") && row.ends_with("its file system does not answer"), "{table:?}");
    }
    let hangs = "does not answer: the server of its file system may be gone\n";
    for (words, code, part) in [
        ("-d sv status", 4, "its file system does not answer"),
        ("-d sv -j", 0, "its file system does not answer"),
        ("-d sv status web", 0, "web — up"),
        ("-d sv check", 1, "x: its file system does not answer"),
        ("-d sv metrics", 0, "service_up{service=\"web\"} 1\n"),
        ("-d sv list --names", 0, "half\nweb\nx\n"),
    ] {
        let outcome = svctl(&scratch, words);
        assert!(outcome.code == code && outcome.stdout.contains(part), "{words}: {outcome:?}");
    }
    for (words, name) in
        [("-d sv stop web x", "x"), ("-d sv remove x", "x"), ("-d sv log half", "half"), ("-d remote", "remote")]
    {
        let outcome = svctl(&scratch, words);
        assert!(outcome.code == 111 && outcome.stderr.ends_with(&format!("{name} {hangs}")), "{words}: {outcome:?}");
    }
    // Nothing was done to the service that answers.
    web.up();
}
