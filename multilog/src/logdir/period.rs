//! Keeps the period of the lines in the current file. `rotation` decides when a period is over.

use super::LogDirectory;
use crate::rotation::RotationDecision;
use crate::router::Line;
use crate::schedule::Period;
use daemontools::logdir::stamp::Zone;
use daemontools::sys::localtime;
use daemontools::tai64::Tai64N;
use nix::sys::stat::{fstat, futimens};
use nix::sys::time::TimeSpec;
use std::time::Duration;

impl LogDirectory {
    /// When something is to be done by the wall clock, as time since 1970.
    pub fn wall_deadline(&self, line: Line) -> Option<Duration> {
        let period = self.period.filter(|_| self.size > 0 && !self.is_processing() && line == Line::Fresh);
        let end = period.map(|period| Duration::from_secs(u64::try_from(period.end).unwrap_or(0)));
        [end, self.expiry].into_iter().flatten().min()
    }

    pub(super) fn begin_period(&mut self, begun: i64) {
        self.zone_changes = localtime::changes();
        self.period = self.settings.schedule.map(|schedule| {
            let offset = |second| match schedule.zone {
                Zone::Utc => 0,
                Zone::Local => localtime::local(second).map_or(0, |calendar| calendar.offset),
            };
            Period::begin(&schedule, begun, offset)
        });
    }

    /// Whether the current file is to be replaced for its age before lines of `now` are written. All lines until the
    /// next call are of `now`.
    pub fn period_is_over(&mut self, now: Tai64N) -> bool {
        self.time = Some(now);
        let now = now.0.to_unix();
        let is_local = self.settings.schedule.is_some_and(|schedule| schedule.zone == Zone::Local);
        if let Some(period) = self.period.filter(|_| is_local && self.zone_changes != localtime::changes()) {
            self.begin_period(period.begun());
        }
        let turn = self.standing().by_time(self.period, now);
        if turn == RotationDecision::BeginPeriod {
            self.begin_period(now);
        }
        turn == RotationDecision::Rotate
    }

    /// Takes over the time of the next lines from the directory before.
    pub(super) fn go_on_at(&mut self, time: Option<Tai64N>) {
        self.time = time;
        if let Some(time) = time.filter(|_| self.size == 0) {
            self.begin_period(time.0.to_unix());
        }
    }

    /// Sets the file's time into the period of its lines, if the last of them was written in another one. The next
    /// multilog learns the period from the file's time.
    pub(super) fn keep_period(&self) {
        let Some(period) = self.period.filter(|_| self.size > 0) else { return };
        let Ok(stat) = fstat(&self.current) else { return };
        let nearest = period.nearest(stat.st_mtime);
        if nearest != stat.st_mtime {
            // If that fails, the file may get lines of two periods.
            let _ = futimens(&self.current, &TimeSpec::UTIME_OMIT, &TimeSpec::new(nearest, 0));
        }
    }

    /// Whether the directory needs the wall clock.
    pub fn needs_clock(&self) -> bool {
        self.settings.schedule.is_some() || self.settings.age.is_some()
    }
}
