//! What supervise counts: the changes of its state, and the ends of `run`.

use std::fs;
use tests::{Scratch, Service, wait_until};

fn change(service: &Service) -> u64 {
    service.state("change").first().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn each_change_of_the_state_has_the_next_number_also_after_a_kill() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").down();
    let supervise = service.supervise();
    let first = change(&service);
    assert!(first > 0);
    service.svc("-+");
    wait_until("it is another one", || change(&service) == first + 1);
    service.svc("-=");
    wait_until("it is another one", || change(&service) == first + 2);
    // What changes nothing is no change.
    service.svc("-=");
    service.svc("-t");
    assert_eq!(scratch.run("svc -s -c web").code, 0);
    assert_eq!(change(&service), first + 2);
    supervise.kill();
    let _next = service.supervise();
    service.svc("-u");
    service.up();
    assert!(change(&service) > first + 2);
}

#[test]
fn ends_are_counted_by_reason_and_every_view_says_so() {
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "sv/web", "test -e stay && exec sleep 1000; exit 3").file("restart-delay", "10");
    let _svscan = tests::Daemon::start(scratch.command("svscan").arg("sv"), &scratch);
    wait_until("it has failed", || service.state("ends").iter().any(|ends| ends.starts_with("failed ")));
    fs::write(service.path("stay"), "").unwrap();
    wait_until("it stays", || {
        service
            .state("pid")
            .iter()
            .any(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n"))
    });
    service.svc("-d");
    wait_until("its end is counted", || service.state("ends").iter().any(|ends| ends.ends_with(" told 1")));
    let json = scratch.run("svstat -j sv/web").stdout;
    assert!(json.contains(r#""ends":{"failed":"#) && json.contains(r#""told":1"#), "{json}");
    let svctl = |words: &str| scratch.shell(&format!("LC_ALL=C.UTF-8 exec svctl -d sv {words}")).stdout;
    assert!(svctl("status web").contains("failed, 1 told"), "{}", svctl("status web"));
    assert!(svctl("metrics").contains("daemontools_service_ends_total{service=\"web\",reason=\"told\"} 1\n"));
}

#[test]
fn a_limit_of_restarts_gives_up_after_one_more_death_than_it_allows() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exit 1").file("restart-delay", "10");
    let service = service.file("restart-limit", "3 in 1m respawns");
    let supervise = service.supervise();
    wait_until("it is given up", || service.state("phase") == ["failed"]);
    assert_eq!((service.says("starts").len(), service.state("failure")), (4, vec!["restart-limit".to_string()]));
    let expected = "web: gives up: restart-limit 3 in 1m respawns reached, last exited 1";
    assert!(supervise.errors().contains(expected), "{}", supervise.errors());
}

#[test]
fn a_signal_by_name_may_mean_that_the_work_is_done() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "kill -USR1 $$").file("success-codes", "0 USR1");
    let _supervise = service.supervise();
    wait_until("its work is done", || service.state("ends") == ["killed 1"] && service.state("phase") == ["stopped"]);
    assert_eq!(service.state("want"), ["down"]);
}
