//! A client that is kept running. It reads a line of JSON and answers with a line of JSON.

use crate::machine::Machine;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::Running;

/// On an idle machine some of this takes seconds, such as a client's start. On a busy one it may take minutes.
const LIMIT: Duration = Duration::from_secs(180);

pub struct Driver {
    running: Running,
    answers: PathBuf,
    errors: PathBuf,
    asked: usize,
}

impl Driver {
    /// Starts a program of the machine with its arguments.
    pub fn start(machine: &Machine, words: &[&str]) -> Driver {
        let number = machine.scratch().next();
        let file = |kind: &str| machine.scratch().path().join(format!("{kind}{number}"));
        let (answers, errors) = (file("answers"), file("complaints"));
        let mut command = machine.command(words);
        command.stdin(Stdio::piped()).stdout(File::create(&answers).unwrap()).stderr(File::create(&errors).unwrap());
        Driver { running: Running(command.spawn().unwrap()), answers, errors, asked: 0 }
    }

    pub fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.running.0.stdin.as_mut().unwrap(), "{question}").unwrap();
        self.asked += 1;
        let start = Instant::now();
        loop {
            let answers = fs::read_to_string(&self.answers).unwrap();
            if answers.matches('\n').count() >= self.asked {
                let answer = answers.lines().nth(self.asked - 1).unwrap();
                return serde_json::from_str(answer).unwrap_or_else(|_| panic!("{question}: {answer}"));
            }
            let ended = self.running.0.try_wait().unwrap();
            let complaints = fs::read_to_string(&self.errors).unwrap();
            assert!(ended.is_none() && start.elapsed() < LIMIT, "no answer to {question}: {ended:?} {complaints}");
            sleep(Duration::from_millis(10));
        }
    }
}

/// Replaces every number by N, so that the texts of two machines can be compared.
pub fn without_numbers(text: &str) -> String {
    let mut said = String::new();
    for letter in text.trim_end().chars() {
        match letter {
            '0'..='9' if said.ends_with('N') => {}
            '0'..='9' => said.push('N'),
            other => said.push(other),
        }
    }
    said
}
