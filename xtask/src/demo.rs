//! The main job, from a checkout to an answer: builds Skep, runs `skep dev` on `examples/hello`, asks it something.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::{self, Running, cargo};
use crate::{Outcome, setup, skep_binary};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What `examples/hello` answers.
const ANSWER: &str = r#"{"message":"hi"}"#;

pub(crate) fn run() -> Outcome {
    setup::run()?;
    process::run(&mut cargo(["build", "--package", "skep"]))?;
    let example = crate::root().join("examples/hello");
    println!("$ cd examples/hello && skep dev --port 0");
    let mut skep = Running(
        Command::new(skep_binary())
            .args(["dev", "--port", "0", "--inspector-port", "0"])
            .current_dir(&example)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("could not start {}: {error}", skep_binary().display()))?,
    );
    let output = skep.0.stdout.take().ok_or("skep has no output")?;
    let mut lines = BufReader::new(output).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .inspect(|line| println!("{line}"))
        .find_map(|line| address(&line).map(str::to_owned))
        .ok_or("skep dev ended before it was ready: its output above says why")?;
    println!("$ curl http://{address}/");
    let answer = ask(&address)?;
    println!("{answer}");
    if answer != ANSWER {
        return Err(format!("the answer should be {ANSWER}").into());
    }
    Ok(())
}

/// Host and port in the line that says where Skep listens.
fn address(line: &str) -> Option<&str> {
    line.split_once("http://")?.1.split([' ', '/']).next()
}

/// One GET request, and the body of its answer.
fn ask(address: &str) -> Result<String, Box<dyn std::error::Error>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer is no HTTP response")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(format!("the answer is not 200: {head}").into());
    }
    Ok(body.to_owned())
}
