//! What the programs of a life are given, in `supervise/given` and `supervise/given-stop`.

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tests::{Scratch, Service, wait_until};

/// A service whose programs write down what they were given.
fn service<'a>(scratch: &'a Scratch, name: &str) -> Service<'a> {
    let says = |program: &str| format!("echo {program} \"$@\" $COLOR $EVENT $STOP >>order");
    let run = format!("{}\ntrap 'exit 0' TERM\nwhile ! test -e end; do sleep 0.02; done\nrm end", says("run"));
    let service = Service::new(scratch, name, &run).down().file("restart-delay", "10");
    let service = service.script("finish", "shift 4\necho finish \"$@\" $COLOR $EVENT $STOP >>order");
    // It runs beside run, and lets run speak first.
    let post_start = format!("while tail -n 1 order | grep -q start; do sleep 0.02; done\n{}", says("post-start"));
    let service = service.script("post-start", &post_start);
    ["start", "pre-start", "pre-stop", "stop"]
        .into_iter()
        .fold(service, |service, program| service.script(program, &says(program)))
}

fn give(service: &Service, file: &str, bytes: &[u8]) {
    let new = service.path(&format!("supervise/{file}.test"));
    fs::write(&new, bytes).unwrap();
    fs::rename(new, service.path(&format!("supervise/{file}"))).unwrap();
}

fn has(service: &Service, file: &str) -> bool {
    service.path(&format!("supervise/{file}")).exists()
}

fn wait_until_stopped(service: &Service) {
    wait_until("it is stopped", || service.state("phase") == ["stopped"]);
}

fn wait_until_ready(service: &Service) {
    wait_until("it is ready", || !service.state("ready").is_empty());
}

#[test]
fn all_programs_of_a_life_have_it_and_it_goes_with_the_life() {
    let scratch = Scratch::new();
    let service = service(&scratch, "web");
    let supervise = service.supervise();
    give(&service, "given", b"x y\0COLOR=red\0EVENT=a=b\0");
    service.svc("-u");
    wait_until_ready(&service);
    // It is there for the next life of a service that is restarted.
    fs::write(service.path("end"), "").unwrap();
    service.lines("order", 7);
    wait_until_ready(&service);
    give(&service, "given-stop", b"STOP=now\0");
    service.svc("-d");
    wait_until_stopped(&service);
    let given = "x y red a=b";
    let life = |ends: &str| ["pre-start", "run", "post-start", ends].map(|program| format!("{program} {given}"));
    let mut expected = vec![format!("start {given}")];
    expected.extend(life("finish"));
    expected.extend(life("pre-stop"));
    let last = expected.len() - 1;
    expected[last] += " now";
    expected.extend([format!("finish {given} now"), format!("stop {given}")]);
    assert_eq!(service.lines("order", expected.len()), expected);
    assert!(!has(&service, "given") && !has(&service, "given-stop"));
    // The next life has nothing, and what is given to a service at rest stays until it starts.
    service.svc("-u");
    wait_until_ready(&service);
    service.svc("-d");
    wait_until_stopped(&service);
    let end = "post-start\npre-stop\nfinish\nstop\n";
    wait_until("its programs have said so", || service.says("order").ends_with(end));
    give(&service, "given", b"COLOR=blue\0");
    service.svc("-+d");
    assert_eq!(scratch.run("svc -s -l web").code, 0);
    assert!(has(&service, "given"));
    assert_eq!(supervise.errors(), "");
}

#[test]
fn the_next_supervise_knows_what_the_life_was_given() {
    let scratch = Scratch::new();
    let service = service(&scratch, "web");
    let supervise = service.supervise();
    give(&service, "given", b"COLOR=red\0");
    service.svc("-u");
    wait_until_ready(&service);
    supervise.kill();
    let _next = service.supervise();
    service.svc("-d");
    wait_until_stopped(&service);
    assert!(service.says("order").ends_with("pre-stop red\nfinish red\nstop red\n"), "{}", service.says("order"));
    assert!(!has(&service, "given"));
}

#[test]
fn bad_input_is_said_once_and_ignored() {
    let scratch = Scratch::new();
    let write = |bytes: &'static [u8]| move |path: &Path| fs::write(path, bytes).unwrap();
    type Make<'a> = &'a dyn Fn(&Path);
    let table: [(&str, Make, &str); 9] = [
        ("long", &|path: &Path| fs::write(path, vec![b'x'; 1 << 20]).unwrap(), "too long"),
        ("huge", &|path: &Path| File::create(path).unwrap().set_len(1 << 30).unwrap(), "too long"),
        ("endless", &write(b"COLOR=red\0EVENT=a"), "its last entry has no end"),
        ("nameless", &write(b"COLOR=red\0=a\0"), "a name in it is no name of a variable"),
        ("misnamed", &write(b"COLOR=red\0a.b=c\0"), "a name in it is no name of a variable"),
        ("fifo", &|path: &Path| mkfifo(path, Mode::S_IRWXU).unwrap(), "not a file"),
        ("link", &|path: &Path| symlink("../run", path).unwrap(), "not a file"),
        ("device", &|path: &Path| symlink("/dev/zero", path).unwrap(), "not a file"),
        (
            "others",
            &|path: &Path| {
                fs::write(path, b"COLOR=red\0").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
            },
            "another account may have written it",
        ),
    ];
    for (name, make, why) in table {
        let service = service(&scratch, name);
        let supervise = service.supervise();
        make(&service.path("supervise/given"));
        service.svc("-u");
        wait_until_ready(&service);
        fs::write(service.path("end"), "").unwrap();
        service.lines("order", 7);
        service.svc("-d");
        wait_until_stopped(&service);
        assert_eq!(supervise.errors(), format!("supervise: warning: {name}/supervise/given: {why}; ignored\n"));
        let order = service.says("order");
        assert!(order.starts_with("start\npre-start\nrun\n"), "{order}");
    }
}
