//! `svctl -H`: the same command on other machines, over ssh. Here a script stands for ssh: its hosts are directories.

use std::fs;
use tests::{Daemon, Outcome, Scratch, Service, wait_until};

/// Takes options as ssh does, notes them, and runs the command in the directory `hosts/HOST`. The host `off` is not reached.
const SSH: &str = r#"#!/bin/sh
while :; do case $1 in -o) shift 2 ;; -T) shift ;; *) break ;; esac; done
host=$1; shift
case $host in off) echo "ssh: connect to host off port 22: No route to host" >&2; exit 255 ;; esac
cd "$SCRATCH/hosts/$host" && exec sh -c "$*"
"#;

/// Two machines, with an svscan each, and a service on each: `web` on `a`, `a b` on `long-name`.
fn machines(scratch: &Scratch) -> Vec<Daemon> {
    scratch.script("bin/ssh", SSH);
    let machine = |host: &str, name: &str| {
        Service::new(scratch, &format!("hosts/{host}/sv/{name}"), "exec sleep 1000");
        let svscan = Daemon::start(scratch.command("svscan").arg(format!("hosts/{host}/sv")), scratch);
        wait_until("it is up", || scratch.shell(&format!("svctl -d hosts/{host}/sv status")).code == 0);
        svscan
    };
    vec![machine("a", "web"), machine("long-name", "a b")]
}

fn svctl(scratch: &Scratch, words: &str) -> Outcome {
    let line = format!("LC_ALL=C.UTF-8 SCRATCH=$PWD PATH=$PWD/bin:$PATH SVDIR=sv exec svctl {words}");
    scratch.shell(&line)
}

#[test]
fn every_line_names_its_host_and_the_worst_code_counts() {
    let scratch = Scratch::new();
    let _machines = machines(&scratch);
    let table = svctl(&scratch, "-H long-name,a --color always");
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert_eq!((table.code, table.stderr.as_str(), lines.len()), (0, "", 6), "{table:?}");
    assert!(lines[1].starts_with("long-name  ● a b  ") && lines[4].starts_with("a          ● web  "), "{table:?}");
    let status = svctl(&scratch, "-H a,long-name status web");
    assert!(status.code == 4 && status.stdout.starts_with("a          ● web — up"), "{status:?}");
    assert!(status.stderr.starts_with("long-name  svctl: warning: no service web in "), "{status:?}");
    assert_eq!(svctl(&scratch, "-H long-name stop 'a b'").code, 0);
    assert_eq!(svctl(&scratch, "-H a,long-name status").code, 3);
    let documents = svctl(&scratch, "-j -H a --host=long-name").stdout;
    let hosts: Vec<&str> = documents.lines().map(|line| line.split(",\"service_bytes").next().unwrap()).collect();
    let expected = ["{\"host\":\"a\",\"service\":\"web\"", "{\"host\":\"long-name\",\"service\":\"a b\""];
    assert_eq!(hosts, expected, "{documents}");
}

#[test]
fn a_host_that_is_not_reached_keeps_no_other_from_answering() {
    let scratch = Scratch::new();
    let _machines = machines(&scratch);
    let status = svctl(&scratch, "status -H off,a");
    assert_eq!(status.code, 111);
    assert!(status.stdout.starts_with("a    ● web — up"), "{status:?}");
    let expected =
        "off  ssh: connect to host off port 22: No route to host\nsvctl: warning: off: ssh could not run svctl there\n";
    assert_eq!(status.stderr, expected);
    // What is wrong with the words is said here, once.
    let wrong = svctl(&scratch, "-H off,a start");
    assert!(wrong.code == 100 && wrong.stderr.starts_with("svctl: no service is named\n"), "{wrong:?}");
}

/// kill(1) has a signal behind a dash. `-HUP` must not be taken for the host `UP`, by this svctl or by an older one there.
#[test]
fn a_signal_is_no_host() {
    let scratch = Scratch::new();
    scratch.script("bin/ssh", "#!/bin/sh\necho \"$*\" >>$SCRATCH/called\n");
    let trap = |signal: &str| format!("trap 'echo {signal} >>heard' {signal}; ");
    let run = ["HUP", "TERM", "INT", "USR1"].map(trap).concat() + "echo $$ >>begun; while :; do sleep 0.05; done";
    let service = Service::new(&scratch, "sv/web", &run);
    let _supervise = service.supervise();
    let pid = service.lines("begun", 1).remove(0);
    for (number, (words, signal)) in [
        ("kill -HUP web", "HUP"),
        ("kill -Hup web", "HUP"),
        ("kill web -SIGTERM", "TERM"),
        ("kill -INT web", "INT"),
        ("kill -2 web", "INT"),
        ("kill -s 15 web", "TERM"),
        ("kill -usr1 web", "USR1"),
    ]
    .into_iter()
    .enumerate()
    {
        let killed = svctl(&scratch, words);
        assert_eq!((killed.code, killed.stderr.as_str()), (0, ""), "{words}");
        assert_eq!(service.lines("heard", number + 1)[number], signal, "{words}");
    }
    for words in
        ["-HUP kill web", "-Hup web", "restart -HUP web", "stop web -HUP", "kill -Ha web", "kill -HUPP web", "-jHa"]
    {
        let refused = svctl(&scratch, words);
        let reason = ": -H must stand alone, with its hosts behind a blank; a signal is svctl kill -s HUP NAME\n";
        assert!(refused.code == 100 && refused.stderr.contains(reason), "{words}: {refused:?}");
    }
    assert!(!scratch.path().join("called").exists());
    assert_eq!(service.lines("begun", 1), [pid], "the service still runs");
    // The signal goes to another machine in words that every svctl takes for a signal.
    assert_eq!(svctl(&scratch, "-H a kill -HUP web").code, 0);
    let called = fs::read_to_string(scratch.path().join("called")).unwrap();
    assert!(
        called.ends_with(
            " a env PATH=\"$PATH:/command:/usr/local/bin:/usr/local/sbin\" svctl --color=never kill -s HUP web\n"
        ),
        "{called}"
    );
    assert_eq!(svctl(&scratch, "kill -9 web").code, 0);
    service.lines("begun", 2);
}

#[test]
fn no_machine_speaks_for_another() {
    let scratch = Scratch::new();
    let said = r#"#!/bin/sh
echo '{"host":"b","service":"web","state":"up"}'
echo '{}'
echo '{"host":"b",'
echo '{}, {"host":"b"}'
"#;
    scratch.script("bin/ssh", said);
    let expected = r#"{"host":"a","service":"web","state":"up"}
{"host":"a"}
a  {"host":"b",
a  {}, {"host":"b"}
"#;
    assert_eq!(svctl(&scratch, "-H a -j list").stdout, expected);
}

/// The lines of a command that goes on are shown when they come, from all hosts.
#[test]
fn events_of_all_hosts_come_as_they_happen() {
    let scratch = Scratch::new();
    let _machines = machines(&scratch);
    let events = "LC_ALL=C.UTF-8 SCRATCH=$PWD PATH=$PWD/bin:$PATH SVDIR=sv exec svctl -H a,long-name events >events";
    let mut shell = scratch.command("sh");
    let daemon = Daemon::start(shell.args(["-c", events]), &scratch);
    let told = || fs::read_to_string(scratch.path().join("events")).unwrap_or_default();
    wait_until("both are told", || told().contains("a b up") && told().contains("web up"));
    assert_eq!(svctl(&scratch, "-H long-name stop 'a b'").code, 0);
    wait_until("the stop is told", || {
        told().lines().any(|line| line.starts_with("long-name  ") && line.contains("a b down"))
    });
    daemon.kill();
}
