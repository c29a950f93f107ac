use daemontools::service::refusal::Refusal;
use supervise::notify::Message;

/// A status is one short line, and so is the refusal of a chain program, with which a datagram says nothing else. Any other
/// datagram means what its lines mean one after the other, and malformed lines mean
/// nothing.
pub fn datagram(data: &[u8]) {
    let whole = Message::parse(data);
    if let Some(status) = &whole.status {
        assert!(status.chars().count() <= 200 && !status.chars().any(char::is_control));
    }
    assert!(whole.main_pid.is_none_or(|pid| pid > 1));
    if let Some(refusal) = &whole.refusal {
        let is_one_line = !refusal.words.chars().any(|c| c.is_control() && c != '\t');
        assert!(data.starts_with(b"NOT_STARTED=") && refusal.words.chars().count() <= 300 && is_one_line);
        assert_eq!(Refusal::parse(&refusal.encode()).as_ref(), Some(refusal));
        assert_eq!(Message { refusal: None, ..whole }, Message::default());
        return;
    }
    let mut said = Message::default();
    for line in data.split(|byte| *byte == b'\n') {
        let Message { ready, stopping, alive, main_pid, status, refusal: _ } = Message::parse(line);
        let known = ["READY=1", "STOPPING=1", "WATCHDOG=1"].map(|word| line == word.as_bytes());
        assert_eq!([ready, stopping, alive], known, "{}", line.escape_ascii());
        assert!(main_pid.is_none() || line.starts_with(b"MAINPID="));
        assert_eq!(status.is_some(), line.starts_with(b"STATUS="));
        (said.ready, said.stopping, said.alive) = (said.ready | ready, said.stopping | stopping, said.alive | alive);
        (said.main_pid, said.status) = (main_pid.or(said.main_pid), status.or(said.status));
    }
    assert_eq!(whole, said);
}
