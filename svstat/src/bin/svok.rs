//! svok: tells by its exit code whether a supervise is in charge of a service.
//!
//! `svok SERVICE`
//!
//! Exit codes: 0, it is, and `supervise/status` exists; 100, it is not (or bad usage); 111, svok cannot
//! find out.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::{Args, Attempt, Fatal, Help, Unable, service};
use nix::errno::Errno;
use nix::unistd::chdir;
use std::path::Path;

daemontools::main!(svok, HELP);

const HELP: Help = Help {
    usage: "svok: usage: svok dir",
    text: "\
Says by its exit code whether a supervise is in charge of the service in dir.

Exit codes: 0, it is; 100, it is not, or wrong usage; 111, it cannot be told.
",
};

fn svok(mut args: Args) -> Result<i32, Fatal> {
    let directory = args.next().ok_or_else(|| Fatal::usage(HELP.usage))?;
    if !service::service_answers(Path::new(&directory), &[service::SUPERVISE]) {
        return Err(Unable::new("chdir to", &directory, Errno::ETIMEDOUT).into());
    }
    chdir(directory.as_os_str())
        .unable_to("chdir to", &directory)
        .map_err(|unable| unable.where_denied(directory.as_ref()))?;
    match service::is_supervised() {
        Ok(true) => Ok(0),
        Ok(false) | Err(Errno::ENOENT) => Ok(100),
        Err(errno) => {
            let named = Path::new(&directory).join(service::OK);
            Err(Unable::new("open", named, errno).where_own_is_denied(service::OK).into())
        }
    }
}
