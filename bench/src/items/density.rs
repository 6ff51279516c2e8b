//! Density: what a loaded Worker costs that nobody asks for, and what is given back when it goes.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::client::Client;
use crate::machine::Memory;
use crate::platform::Platform;
use crate::processes::family;
use crate::promise::{DENSITY, DENSITY_RETURNED};
use crate::report::Section;
use crate::table::{Table, number};

const WORKERS: usize = 1000;
const SCRIPT: &str =
    "export default { async fetch(request, env, ctx) { return Response.json({ message: \"hi\" }); } };";
/// How long isolates stay that nobody asks for, in seconds: longer than it takes to load all of them.
const KEEP: u64 = 60;
/// How long they may take to be gone.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long the platform is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(3);

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let data = Platform::new_data(bench, "density")?;
    {
        let mut platform = Platform::start(bench, &data, &bench.cores.all, &[])?;
        for worker in 0..WORKERS {
            platform.deploy(&format!("hello-{worker}"), SCRIPT)?;
        }
    }
    let keep = KEEP.to_string();
    let arguments = ["--keep-alive-seconds", &keep];
    let platform = Platform::start(bench, &data, &bench.cores.all, &arguments)?;
    let process = platform.server.process();
    let threads = || -> io::Result<usize> {
        family(process).into_iter().map(|one| Ok(std::fs::read_dir(format!("/proc/{one}/task"))?.count())).sum()
    };
    let mut client = Client::connect(platform.server.address)?;
    client.ask(&Platform::request("hello-0", "/"))?;
    std::thread::sleep(SETTLE);
    let (empty, few) = (Memory::of_family(process)?.proportional as f64, threads()?);
    for worker in 1..WORKERS {
        client.ask(&Platform::request(&format!("hello-{worker}"), "/"))?;
    }
    std::thread::sleep(SETTLE);
    let (full, many) = (Memory::of_family(process)?.proportional as f64, threads()?);
    if many < few + WORKERS - 1 {
        return Err(
            format!("{WORKERS} Workers were asked, and there are {many} threads: isolates went too early").into()
        );
    }
    let begun = Instant::now();
    while threads()? > few {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} threads are left after {PATIENCE:?}", threads()?).into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(SETTLE);
    let idle = Memory::of_family(process)?.proportional as f64;
    let each = (full - empty) / (WORKERS - 1) as f64;
    let returned = (full - idle) / (full - empty) * 100.0;
    let mut table = Table::new(&["", "isolates", "PSS in MB"]);
    table.row(["one Worker was asked".to_owned(), "1".to_owned(), number(empty / 1e6)]);
    table.row([format!("{WORKERS} Workers were asked"), WORKERS.to_string(), number(full / 1e6)]);
    table.row(["all of them are idle and gone".to_owned(), "0".to_owned(), number(idle / 1e6)]);
    Ok(Section {
        title: format!("density: memory of {WORKERS} loaded Workers"),
        method: format!(
            "`skep serve`; each Worker answers one request. Memory (PSS, threads included) after {SETTLE:?}, and again when the isolates \
             have gone, after {KEEP} s without a request."
        ),
        table,
        findings: vec![DENSITY.measured(each / 1e6), DENSITY_RETURNED.measured(returned)],
        notes: vec![format!(
            "{} MB for each loaded Worker; {} % were given back.",
            number(each / 1e6),
            number(returned)
        )],
    })
}
