use daemontools::service::Record;

/// Whatever the file contains, the record that was read from it is the same after it was written and read again.
pub fn read_as_written(data: &[u8]) {
    let record = Record::decode(&String::from_utf8_lossy(data));
    let text = record.encode();
    assert_eq!(Record::decode(&text), record, "{text}");
    assert!(record.process.is_none_or(|(_, process)| process.pid.as_raw() > 0));
    // Lines that a newer supervise adds are ignored.
    let newer = format!("newer 1 2\n{text}log-newer\n\nnewer\n");
    let with_logger = Record { logger: record.logger.clone().or_else(|| Record::decode(&newer).logger), ..record };
    assert_eq!(Record::decode(&newer), with_logger);
}
