//! A port that is taken: by whom, and which one is free.

use std::fs;
use std::net::TcpListener;

use skep_gateway::BindError;

/// How many ports above the taken one are tried.
const TRIES: u16 = 50;

/// What to say of a port that is taken.
pub(crate) fn in_use(error: &BindError, host: &str, port: u16) -> String {
    let owner = owner(port)
        .map(|owner| format!(": {owner}. Stop it"))
        .unwrap_or_else(|| format!(": `ss -ltnp 'sport = :{port}'`, as the user who runs it, says which. Stop it"));
    let next = free_above(host, port)
        .map_or_else(|| "use another one with --port".to_owned(), |next| format!("use --port {next}, which is free"));
    format!("{error}{owner}, or {next}.")
}

fn free_above(host: &str, port: u16) -> Option<u16> {
    (1..=TRIES).filter_map(|offset| port.checked_add(offset)).find(|port| TcpListener::bind((host, *port)).is_ok())
}

/// The process that listens on a port, if this is Linux and it is one that we may look at.
fn owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| inode(&table, port))?;
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut descriptors = fs::read_dir(process.path().join("fd")).ok()?.filter_map(Result::ok);
        descriptors
            .find(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|link| link.to_string_lossy() == socket))?;
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        Some(format!("{} (process {pid})", name.trim()))
    })
}

/// The inode of the socket that listens on a port. <https://docs.kernel.org/networking/proc_net_tcp.html>
fn inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let matches = u16::from_str_radix(local_port, 16) == Ok(port) && fields.get(3) == Some(&LISTEN);
        if matches { fields.get(9)?.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_owner_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let owner = super::owner(port).unwrap();
        assert!(owner.ends_with(&format!("(process {})", std::process::id())), "{owner}");
        let free = super::free_above("127.0.0.1", port).unwrap();
        assert!(free > port);
    }
}
