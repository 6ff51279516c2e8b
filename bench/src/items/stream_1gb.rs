//! Memory while 1 GB streams through a Worker.

use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::Bench;
use crate::client::{Client, get};
use crate::machine::Memory;
use crate::promise::STREAM_1GB;
use crate::report::Section;
use crate::table::{Table, number};

const GIGABYTE: u64 = 1_000_000_000;
/// What goes first, so that the program's own pages are in memory.
const FIRST: u64 = 1_000_000;
const MEGABYTE: f64 = 1e6;
/// In the middle the client stops reading: what the server then gathers is memory.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let origin = origin()?;
    let server = bench.start_on(&bench.skep, "relay", &bench.source.join("workers/relay"), &bench.cores.all)?;
    let mut client = Client::connect(server.address)?;
    let request = |bytes: u64| get(&format!("/?from=http://{origin}/{bytes}"));
    client.count(&request(FIRST), |_| {})?;
    let before = Memory::of(server.process())?.resident;
    Memory::forget_most(server.process())?;
    let begun = Instant::now();
    let mut paused = false;
    let length = client.count(&request(GIGABYTE), |bytes| {
        if bytes > GIGABYTE / 2 && !paused {
            paused = true;
            std::thread::sleep(PAUSE);
        }
    })?;
    let time = begun.elapsed().saturating_sub(PAUSE);
    if length != GIGABYTE {
        return Err(format!("{length} bytes came of {GIGABYTE}").into());
    }
    let most = Memory::most_resident(server.process())?;
    let after = Memory::of(server.process())?.resident;
    let megabytes = |bytes: u64| bytes as f64 / MEGABYTE;
    let growth = megabytes(most) - megabytes(before);
    let mut table = Table::new(&["server", "RSS before", "at most", "after", "growth", "MB/s"]);
    let values =
        [megabytes(before), megabytes(most), megabytes(after), growth, megabytes(GIGABYTE) / time.as_secs_f64()];
    table.row(std::iter::once(server.name.to_owned()).chain(values.map(number)));
    Ok(Section {
        title: "stream-1gb: megabytes of memory while 1 GB streams through a Worker".to_owned(),
        method: format!(
            "The Worker fetches 1 GB from another server and answers with it, through a `TransformStream`. In the middle \
             the client does not read for {PAUSE:?}. Before: after a first megabyte."
        ),
        table,
        findings: vec![STREAM_1GB.measured(growth)],
        notes: Vec::new(),
    })
}

/// A server that sends as many bytes as its path says.
fn origin() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name("origin".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || send(stream));
        }
    })?;
    Ok(address)
}

/// Answers requests until the client goes away.
fn send(stream: TcpStream) -> io::Result<()> {
    let chunk = vec![46; 64 * 1024];
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if requests.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut left = length(&line);
        while requests.read_line(&mut line)? > 2 {}
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {left}\r\n\r\n")?;
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            stream.write_all(&chunk[..size])?;
            left -= size as u64;
        }
    }
}

/// The number that is the path of a request line.
fn length(line: &str) -> u64 {
    let path = line.split(' ').nth(1).unwrap_or_default();
    path.trim_start_matches('/').parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{length, origin};
    use crate::client::{Client, get};

    #[test]
    fn the_origin_sends_what_is_asked_for() {
        assert_eq!(length("GET /1000 HTTP/1.1\r\n"), 1000);
        let mut client = Client::connect(origin().unwrap()).unwrap();
        for bytes in [1, 0, 1_000_000] {
            assert_eq!(client.count(&get(&format!("/{bytes}")), |_| {}).unwrap(), bytes);
        }
    }
}
