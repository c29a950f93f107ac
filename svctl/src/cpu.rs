//! How long the processes of services have computed.

use daemontools::encoding::Encode;
use daemontools::service::Witness;
use daemontools::sys::process::{CpuTicks, cpu_ticks};
use nix::unistd::Pid;

/// Tells how long processes have computed, and waits for none of them for long.
#[derive(Debug)]
pub struct CpuClock(Witness);

impl Default for CpuClock {
    fn default() -> CpuClock {
        CpuClock(Witness::new(|request| {
            let pids = Vec::<i32>::decode(&mut &*request)?;
            let all = pids.into_iter().filter_map(|pid| cpu_ticks(Pid::from_raw(pid)));
            let (user, system) = all.fold((0, 0), |sum, ticks| (sum.0 + ticks.user, sum.1 + ticks.system));
            let mut answer = Vec::new();
            (user, system).encode(&mut answer);
            Some(answer)
        }))
    }
}

impl CpuClock {
    /// How long the process `main` of a service and the others of the service have computed; `None` if the system does not
    /// tell. A process that has ended counts for nothing.
    pub fn of(&mut self, main: Pid, family: &[Pid]) -> Option<CpuTicks> {
        let mut request = Vec::new();
        family.iter().map(|pid| pid.as_raw()).collect::<Vec<i32>>().encode(&mut request);
        let answer = self.0.ask(main, &request).ok()?;
        let (user, system) = <(u64, u64)>::decode(&mut &answer[..])?;
        Some(CpuTicks { user, system })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_all_processes_is_added_up() {
        let own = Pid::this();
        let alone = || CpuClock::default().of(own, &[own]).unwrap();
        while alone().user == 0 {}
        let (mut clock, one) = (CpuClock::default(), alone());
        assert!(clock.of(own, &[own, own]).unwrap().user >= 2 * one.user);
        assert_eq!(clock.of(own, &[Pid::from_raw(i32::MAX)]), Some(CpuTicks::default()));
    }
}
