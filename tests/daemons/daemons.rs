//! The daemons: their names, where they must listen, and what they must answer.

use crate::services_dir::ServicesDir;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;
use tests::{is_root, skip};

const PATIENCE: Duration = Duration::from_secs(5);

pub struct Daemon {
    /// The name of its directory in `examples/`.
    pub name: &'static str,
    /// The files of its `env/`.
    pub settings: Vec<(&'static str, String)>,
    /// Asks the daemon everything, beginning with what its logger must drop. Returns whether all answers are right.
    pub works: Box<dyn Fn(&ServicesDir) -> bool>,
    /// A text in the log's line about the last question.
    pub kept: &'static str,
    /// A text in the lines that its logger drops.
    pub dropped: &'static str,
}

/// The daemons that are installed. A message names those that are not.
pub fn installed() -> Vec<Daemon> {
    let all = [("nginx", nginx as fn() -> Daemon), ("redis-server", redis), ("tinydns", tinydns), ("python3", python)];
    all.into_iter().filter(|(program, _)| is_usable(program)).map(|(_, daemon)| daemon()).collect()
}

fn is_usable(program: &str) -> bool {
    let folders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    if !folders.iter().any(|folder| Path::new(folder).join(program).is_file()) {
        skip(&format!("{program} is not installed"));
        return false;
    }
    let usable = program != "tinydns" || is_root();
    if !usable {
        skip("tinydns needs root");
    }
    usable
}

fn nginx() -> Daemon {
    let address = free_address();
    Daemon {
        name: "nginx",
        settings: vec![("PORT", address.port().to_string())],
        works: Box::new(move |_| {
            http(address, "/health").is_ok_and(|answer| answer.starts_with("HTTP/1.1 204 "))
                && http(address, "/").is_ok_and(|answer| answer.contains("Served by nginx"))
        }),
        kept: "\"GET / HTTP/1.0\" 200",
        dropped: "GET /health",
    }
}

fn python() -> Daemon {
    let address = free_address();
    Daemon {
        name: "python",
        settings: vec![("PORT", address.port().to_string())],
        works: Box::new(move |_| {
            http(address, "/favicon.ico").is_ok_and(|answer| answer.contains(" 404 "))
                && http(address, "/").is_ok_and(|answer| answer.contains("Served by Python"))
        }),
        kept: "\"GET / HTTP/1.0\" 200",
        dropped: "GET /favicon.ico",
    }
}

fn redis() -> Daemon {
    let address = free_address();
    Daemon {
        name: "redis",
        settings: vec![("PORT", address.port().to_string())],
        works: Box::new(move |_| {
            // With NX, the first value that was ever set is kept, even after restarts.
            let asked = "PING\r\nSET who supervise NX\r\nGET who\r\nQUIT\r\n";
            exchange(address, asked)
                .is_ok_and(|answer| answer.starts_with("+PONG\r\n") && answer.ends_with("$9\r\nsupervise\r\n+OK\r\n"))
        }),
        kept: "Ready to accept connections",
        dropped: "oO0OoO0OoO0Oo",
    }
}

fn tinydns() -> Daemon {
    let ip = free_name_server();
    Daemon {
        name: "tinydns",
        settings: vec![("IP", ip.to_string())],
        works: Box::new(move |_| {
            // The daemon has no answer for a zone that is not its own.
            let other = dns(ip, "www.example.org", Duration::from_millis(100));
            let own = dns(ip, "www.example.com", PATIENCE);
            other.is_err() && own.is_ok_and(|answer| answer.windows(4).any(|bytes| bytes == [192, 0, 2, 10]))
        }),
        kept: "0001 www.example.com",
        dropped: "www.example.org",
    }
}

/// Whether redis answers at this address.
pub fn answers_redis(address: SocketAddr) -> bool {
    exchange(address, "PING\r\nQUIT\r\n").is_ok_and(|answer| answer == "+PONG\r\n+OK\r\n")
}

/// A loopback address on which no program listens now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// A loopback address whose port 53 is free. tinydns cannot use another port.
fn free_name_server() -> Ipv4Addr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let mut candidates = (1..=250).map(|first| Ipv4Addr::new(127, first, high, low.max(1)));
    candidates.find(|ip| UdpSocket::bind((*ip, 53)).is_ok()).unwrap()
}

pub fn http(address: SocketAddr, path: &str) -> io::Result<String> {
    exchange(address, &format!("GET {path} HTTP/1.0\r\n\r\n"))
}

/// Sends all words, and reads until the other side closes the connection.
fn exchange(address: SocketAddr, words: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(words.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Asks for the address (A, IN) of a name, and returns the answer's bytes.
fn dns(server: Ipv4Addr, name: &str, patience: Duration) -> io::Result<Vec<u8>> {
    let header: [u8; 12] = [0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let labels = name.split('.').flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
    let question: Vec<u8> = header.into_iter().chain(labels).chain([0, 0, 1, 0, 1]).collect();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(patience))?;
    socket.connect((server, 53))?;
    socket.send(&question)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    let answer = answer[..length].to_vec();
    assert!(answer.starts_with(&header[..2]) && answer[2] & 0x80 != 0, "not an answer: {answer:?}");
    Ok(answer)
}
