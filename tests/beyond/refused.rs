//! Programs that cannot be executed, and files that cannot be made: said once, with the cause.

use crate::svscan::{SCANNED, service, svscan};
use nix::sys::signal::Signal;
use tests::{Scratch, Service, fails, wait_until};

#[test]
fn a_script_beside_the_service_is_told_from_its_interpreter() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    scratch.script("web/check", "#!/no/such\n");
    let supervise = service.supervise();
    let check = "supervise: fatal: unable to start ./check: interpreter /no/such does not exist\n";
    wait_until("it is said of check", || supervise.errors().contains(check));
    scratch.dir(SCANNED);
    scratch.script(format!("{SCANNED}/.svscan/SIGHUP"), "#!/no/such\n");
    scratch.script(format!("{SCANNED}/.svscan/finish"), "#!/no/such\n");
    let mut svscan = svscan(&scratch);
    service_runs(&scratch);
    svscan.signal(Signal::SIGHUP);
    let words =
        |script| format!("svscan: warning: unable to start .svscan/{script}: interpreter /no/such does not exist\n");
    wait_until("it is said of the script", || svscan.errors().contains(&words("SIGHUP")));
    svscan.signal(Signal::SIGTERM);
    svscan.wait();
    assert!(svscan.errors().ends_with(&words("finish")), "{}", svscan.errors());
}

fn service_runs(scratch: &Scratch) {
    service(scratch, "a", "exec sleep 1000").up();
}

#[test]
fn a_program_in_path_is_told_from_its_interpreter() {
    let scratch = Scratch::new();
    scratch.script("bin/tool", "#!/no/such\n");
    scratch.file("plain", "");
    scratch.script("denied", &format!("#!{}/plain\n", scratch.path().display()));
    let path = format!("{}/bin:/usr/bin", scratch.path().display());
    let outcome = scratch.outcome_of(scratch.command("pgrphack").arg("tool").env("PATH", path));
    assert_eq!(outcome, fails(111, "pgrphack: fatal: unable to run tool: interpreter /no/such does not exist\n"));
    let words = format!("interpreter {}/plain: access denied", scratch.path().display());
    assert_eq!(
        scratch.run("pgrphack ./denied"),
        fails(111, &format!("pgrphack: fatal: unable to run ./denied: {words}\n"))
    );
}
