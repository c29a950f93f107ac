//! Debian's package svtools: shell scripts around svc, svstat, svok, tai64nlocal, and the bytes of `supervise/status`.

use crate::driver::without_numbers;
use crate::machine::{LISTENS, Machine, Supervisor, both, linked, started};
use tests::{Outcome, Scratch, has, prints, wait_until};

fn prepare(scratch: &Scratch) {
    linked(scratch, "web", &format!("echo hello\n{LISTENS}")).script("log/run", "exec multilog t ./main");
    linked(scratch, "idle", LISTENS).down();
}

/// The exit code and the output of a script, with N for every number.
fn script(machine: &Machine, words: &str) -> (i32, String) {
    let Outcome { code, stdout, stderr } = machine.run(words);
    (code, without_numbers(&(stdout + &stderr)))
}

fn said(code: i32, words: &str) -> (i32, String) {
    (code, words.into())
}

#[test]
fn they_tell_and_change_the_state_of_a_service() {
    if !has("svinfo") {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let service = machine.service("web");
        started(&service, 1);
        let pid = service.up();
        wait_until("it is supervised", || machine.service("idle").is_supervised());
        // svdir finds svscan's directory by the current directory of the svscan process, if there is only one.
        assert_eq!(machine.run("svdir"), prints("/service\n"));
        assert_eq!(machine.run("svinfo --pid web"), prints(&format!("{pid}\n")));
        assert_eq!(script(machine, "svinfo web"), said(0, "/service/web: up (pid N) N seconds"));
        assert_eq!(script(machine, "svinfo --log web"), said(0, "/service/web/log: up (pid N) N seconds"));
        assert_eq!(script(machine, "svinfo --when web"), said(0, "N-N-N N:N:N.N"));
        assert_eq!(script(machine, "svinfo --state web"), said(3, "Service is started"));
        assert_eq!(script(machine, "svinfo --state idle"), said(0, "Service is disabled"));
        assert_eq!(script(machine, "svinitd web stop"), said(0, "Stopping supervised web... Done"));
        service.wait_down();
        assert_eq!(script(machine, "svinfo --state web"), said(1, "Service is stopped"));
        assert_eq!(script(machine, "svinitd web start"), said(0, "Starting supervised web... Done"));
        let pid = service.another(pid);
        started(&service, 2);
        assert_eq!(script(machine, "svinitd web reload"), said(0, "Reloading supervised web... Done"));
        assert_eq!(service.lines("heard", 1), ["HUP"]);
        assert_eq!(script(machine, "svinitd web restart"), said(0, "Restarting supervised web... Done"));
        service.another(pid);
        for words in ["svinfo nothing", "svinitd nothing start"] {
            assert_eq!(machine.run(words).code, 1, "{words}");
        }
    });
}

#[test]
fn they_show_what_a_service_has_logged() {
    if !has("mltail") {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        machine.service("web").lines("log/main/current", 1);
        for words in ["mltail web", "mlhead web", "mlcat web", "mltac web"] {
            assert_eq!(script(machine, words), said(0, "N-N-N N:N:N.N hello"), "{words}");
        }
    });
}
