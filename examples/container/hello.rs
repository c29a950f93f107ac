//! A service of one static program, as an image without a shell needs it: `run` itself, executed without arguments and
//! set by its environment. It answers HTTP on $ADDRESS, and ends with 0 when asked for /stop: then its work is done.

use std::io::{BufRead, BufReader, Error, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn main() -> Result<(), Error> {
    let address = std::env::var("ADDRESS").unwrap_or("0.0.0.0:8080".into());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    for connection in listener.incoming() {
        match connection.and_then(answer) {
            Ok(path) if path == "/stop" => break,
            Ok(_) => {}
            Err(reason) => println!("unable to answer: {reason}"),
        }
    }
    println!("done");
    Ok(())
}

/// Reads a request to the empty line at its end, and answers it; which path it was for.
fn answer(mut connection: TcpStream) -> Result<String, Error> {
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new((&connection).take(8192)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    connection.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello\n")?;
    Ok(request.split(' ').nth(1).unwrap_or_default().into())
}
