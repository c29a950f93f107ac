use daemontools::service::Status;

/// Eighteen bytes or more are a status, and fewer are an error. A status that is written and read again is the same,
/// and so are its meaningful bytes.
pub fn read_as_written(data: &[u8]) {
    let Ok(status) = Status::decode(data) else {
        return assert!(data.len() < Status::SHORTEST);
    };
    assert!(data.len() >= Status::SHORTEST);
    let bytes = status.encode();
    // A service that is down is never paused.
    let meant = Status { paused: status.paused && status.pid.is_some(), ..status };
    assert_eq!(Status::decode(&bytes), Ok(meant));
    assert_eq!(bytes[..16], data[..16]);
    assert!(bytes[17] == data[17] || !b"ud\0".contains(&data[17]));
    assert!(bytes[16] <= 1 && bytes[18] <= 5 && bytes[19] <= 2);
}
