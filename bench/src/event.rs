//! A report of a measured service: what happened, when, and in which process.

use nix::time::{ClockId, clock_gettime};

/// The kind of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Started,
    Alarmed,
    Continued,
    Terminated,
}

impl What {
    const ALL: [What; 4] = [What::Started, What::Alarmed, What::Continued, What::Terminated];
}

/// One record in the FIFO: 16 bytes, so that the kernel writes it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub what: What,
    pub pid: u32,
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub at: u64,
}

impl Event {
    /// An event of this process, now.
    #[allow(dead_code, reason = "one program writes, the other reads")]
    pub fn now(what: What) -> Event {
        Event { what, pid: std::process::id(), at: now() }
    }

    #[allow(dead_code, reason = "one program writes, the other reads")]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&(self.what as u32).to_le_bytes());
        bytes[4..8].copy_from_slice(&self.pid.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.at.to_ne_bytes());
        bytes
    }

    #[allow(dead_code, reason = "one program writes, the other reads")]
    pub fn from_bytes(bytes: [u8; 16]) -> Event {
        let [what, .., p0, p1, p2, p3, a0, a1, a2, a3, a4, a5, a6, a7] = bytes;
        let what = What::ALL.into_iter().find(|known| *known as u8 == what);
        Event {
            what: what.unwrap_or(What::Started),
            pid: u32::from_ne_bytes([p0, p1, p2, p3]),
            at: u64::from_ne_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
        }
    }
}

/// Nanoseconds of CLOCK_MONOTONIC, the same in every process.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_the_fifo() {
        for what in What::ALL {
            let event = Event { what, pid: 4711, at: 1 << 40 };
            assert_eq!(Event::from_bytes(event.to_bytes()), event);
        }
    }
}
