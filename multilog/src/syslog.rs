//! Lines as syslog messages, RFC 5424. No I/O and no clock.

use daemontools::logdir::stamp::Zone;
use daemontools::logdir::stamp::write::write_iso;
use daemontools::tai64::Tai64N;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStringExt;

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A datagram socket such as /dev/log.
    Unix(OsString),
    /// An address and a port.
    Udp(SocketAddr),
}

/// The argument of `u`: `ADDRESS[,FACILITY.SEVERITY][,NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The address to which messages are sent.
    pub address: Address,
    /// Eight times the facility, and the severity.
    pub priority: u8,
    /// The application's name; without it, messages have the name of the service.
    pub name: Option<Vec<u8>>,
}

/// The port, if none is given.
const PORT: u16 = 514;
/// The priority daemon.info.
const DEFAULT_PRIORITY: u8 = 3 * 8 + 6;
/// The longest name that RFC 5424 allows.
const LONGEST_NAME: usize = 48;
const LONGEST_HOST: usize = 255;

const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

impl Target {
    /// Reads the argument, without the `u`.
    ///
    /// # Errors
    /// A few words say what is wrong with the argument.
    pub fn parse(text: &[u8]) -> Result<Target, &'static str> {
        let mut parts = text.split(|byte| *byte == b',');
        let address = address(parts.next().unwrap_or_default())?;
        let mut target = Target { address, priority: DEFAULT_PRIORITY, name: None };
        for part in parts {
            match priority(part) {
                Some(priority) => target.priority = priority,
                None if part.contains(&b'.') => return Err("no such facility or severity"),
                None if part.is_empty() || target.name.is_some() => {
                    return Err("more than ADDRESS,FACILITY.SEVERITY,NAME");
                }
                None => target.name = Some(part.to_vec()),
            }
        }
        Ok(target)
    }

    /// The address and the priority as people write them.
    pub fn to_words(&self) -> (Vec<u8>, String) {
        let address = match &self.address {
            Address::Unix(path) => path.clone().into_vec(),
            Address::Udp(address) => address.to_string().into_bytes(),
        };
        let facility = FACILITIES[usize::from(self.priority / 8) % FACILITIES.len()];
        (address, format!("{facility}.{}", SEVERITIES[usize::from(self.priority % 8)]))
    }
}

fn address(text: &[u8]) -> Result<Address, &'static str> {
    if text.starts_with(b"/") || text.starts_with(b".") {
        return Ok(Address::Unix(OsString::from_vec(text.to_vec())));
    }
    let text = std::str::from_utf8(text).unwrap_or_default();
    let address = text.parse().or_else(|_| text.parse().map(|address: IpAddr| SocketAddr::new(address, PORT)));
    address.map(Address::Udp).map_err(|_| "neither a path nor an address, as in u/dev/log or u127.0.0.1:514")
}

fn priority(text: &[u8]) -> Option<u8> {
    let (facility, severity) = std::str::from_utf8(text).ok()?.split_once('.')?;
    let facility = FACILITIES.iter().position(|name| *name == facility)?;
    let severity = SEVERITIES.iter().position(|name| *name == severity)?;
    u8::try_from(facility * 8 + severity).ok()
}

/// The names in a message's header.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The name of this machine.
    pub host: Vec<u8>,
    /// The service's name.
    pub service: Vec<u8>,
}

/// Makes messages of lines.
#[derive(Debug)]
pub struct Format {
    /// The beginning of a message, up to its time: `<30>1 `.
    before: Vec<u8>,
    /// From the time to the text: ` host name - - - `
    after: Vec<u8>,
}

impl Format {
    /// Makes the format of a target's messages.
    pub fn new(target: &Target, identity: &Identity) -> Format {
        let host = printable(&identity.host, LONGEST_HOST);
        let name = printable(target.name.as_deref().unwrap_or(&identity.service), LONGEST_NAME);
        Format {
            before: format!("<{}>1 ", target.priority).into_bytes(),
            after: [b" ", &host[..], b" ", &name, b" - - - "].concat(),
        }
    }

    /// Appends the header, which precedes the text.
    pub fn begin(&self, time: Tai64N, message: &mut Vec<u8>) {
        message.extend_from_slice(&self.before);
        write_iso(time, Zone::Utc, message);
        message.extend_from_slice(&self.after);
    }
}

/// The form of a name in a header: it has no blanks and only ASCII; `-` stands for an empty name.
fn printable(text: &[u8], longest: usize) -> Vec<u8> {
    let text: Vec<u8> =
        text.iter().take(longest).map(|byte| if byte.is_ascii_graphic() { *byte } else { b'_' }).collect();
    if text.is_empty() { b"-".to_vec() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::tai64::Tai64;

    #[test]
    fn a_target_is_a_path_or_an_address_and_what_to_say_of_lines() {
        let udp = |text: &str| Address::Udp(text.parse().unwrap());
        let table = [
            ("/dev/log", Address::Unix("/dev/log".into()), 30, None),
            ("127.0.0.1:514", udp("127.0.0.1:514"), 30, None),
            ("127.0.0.1", udp("127.0.0.1:514"), 30, None),
            ("[::1]:99,local0.err", udp("[::1]:99"), 131, None),
            ("::1", udp("[::1]:514"), 30, None),
            ("./socket,nginx", Address::Unix("./socket".into()), 30, Some("nginx")),
            ("/dev/log,kern.emerg,web", Address::Unix("/dev/log".into()), 0, Some("web")),
        ];
        for (text, address, priority, name) in table {
            let name = name.map(|name| name.as_bytes().to_vec());
            assert_eq!(Target::parse(text.as_bytes()), Ok(Target { address, priority, name }), "{text}");
        }
        for malformed in ["", "localhost", "127.0.0.1:x", "/dev/log,a,b", "/dev/log,local9.err", "/dev/log,"] {
            assert!(Target::parse(malformed.as_bytes()).is_err(), "{malformed}");
        }
    }

    #[test]
    fn a_message_has_the_header_of_rfc_5424() {
        let identity = Identity { host: b"box".to_vec(), service: b"my web".to_vec() };
        let time = Tai64N(Tai64::from_unix(951_868_799), 1000);
        let mut message = Vec::new();
        Format::new(&Target::parse(b"/dev/log").unwrap(), &identity).begin(time, &mut message);
        assert_eq!(message, b"<30>1 2000-02-29T23:59:59.000001Z box my_web - - - ");
        message.clear();
        Format::new(&Target::parse(b"/dev/log,x").unwrap(), &Identity::default()).begin(time, &mut message);
        assert_eq!(message, b"<30>1 2000-02-29T23:59:59.000001Z - x - - - ");
    }
}
