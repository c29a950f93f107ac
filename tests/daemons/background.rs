//! Daemons that go into the background by themselves, as packages start them: nginx and redis with their pid files, and
//! without.

use crate::daemons::{answers_redis, free_address, http};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::SocketAddr;
use tests::{Scratch, Service, parent_of, skip, wait_until};

/// A daemon: its program, what makes it a service, the pid file, and whether it answers.
struct Background {
    program: &'static str,
    run: fn(SocketAddr) -> String,
    pidfile: &'static str,
    works: fn(SocketAddr) -> bool,
}

const DAEMONS: [Background; 2] = [
    Background {
        program: "nginx",
        run: |address| {
            format!(
                "cat >nginx.conf <<END\ndaemon on;\nworker_processes 2;\npid nginx.pid;\nerror_log stderr;\nevents {{\n}}\n\
                 http {{\naccess_log off;\nclient_body_temp_path body;\nproxy_temp_path proxy;\n\
                 fastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n\
                 server {{\nlisten {address};\nlocation / {{\nreturn 204;\n}}\n}}\n}}\nEND\n\
                 exec nginx -p \"$PWD\" -e stderr -c nginx.conf"
            )
        },
        pidfile: "nginx.pid",
        works: |address| http(address, "/").is_ok_and(|answer| answer.starts_with("HTTP/1.1 204 ")),
    },
    Background {
        program: "redis-server",
        run: |address| {
            format!(
                "exec redis-server --bind {} --port {} --dir \"$PWD\" --save '' --daemonize yes --logfile log.txt \
                 --pidfile \"$PWD/redis.pid\"",
                address.ip(),
                address.port()
            )
        },
        pidfile: "redis.pid",
        works: answers_redis,
    },
];

fn is_installed(program: &str) -> bool {
    let is_there = ["/usr/sbin", "/usr/bin"].iter().any(|folder| std::path::Path::new(folder).join(program).is_file());
    if !is_there {
        skip(&format!("{program} is not installed"));
    }
    is_there
}

/// A real daemon is started, asked, taken over after the death of supervise, restarted and taken down.
#[test]
fn real_daemons_are_supervised_in_the_background() {
    for Background { program, run, pidfile, works } in DAEMONS.iter().filter(|daemon| is_installed(daemon.program)) {
        for has_file in [true, false] {
            let (scratch, address) = (Scratch::new(), free_address());
            let run = format!("PATH=/usr/sbin:/usr/bin:/bin\n{}", run(address));
            let service = Service::new(&scratch, "web", &run);
            let service = if has_file { service.file("pidfile", pidfile) } else { service.file("expect", "daemon") };
            let supervise = service.supervise();
            let is_ready = || scratch.run("svwait -T 0 ready web").code == 0;
            wait_until(&format!("{program} is ready"), is_ready);
            wait_until(&format!("{program} answers"), || works(address));
            let pid = service.status().pid;
            let in_file = || service.says(pidfile).trim().parse() == Ok(pid);
            wait_until(&format!("{program} has written its number, {pid}"), in_file);

            let old = supervise.pid();
            supervise.kill();
            assert_ne!(parent_of(pid), Some(old));
            let next = service.supervise();
            assert!(works(address) && is_ready());
            assert_eq!((service.status().pid, service.state("starts")), (pid, vec!["1".to_string()]), "{program}");

            kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
            wait_until(&format!("another {program} answers"), || {
                is_ready() && service.status().pid != pid && works(address)
            });
            assert_eq!(service.state("starts"), ["2"], "{program}: {}", next.errors());
            service.svc("-dx");
            wait_until("it has ended", || !service.is_supervised());
            wait_until(&format!("no {program} is left"), || tests::processes_in(scratch.path()).is_empty());
            assert!(!works(address));
            assert_eq!(next.errors().matches("supervise: ").count(), 0, "{}", next.errors());
        }
    }
}
