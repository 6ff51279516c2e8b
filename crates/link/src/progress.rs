//! How much was written to a connection, as the kernel knows it.

#![expect(unsafe_code, reason = "no library asks the kernel for this without generating bindings at build time")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Places in the kernel's `struct tcp_info`, which never change: the C library's has not all of it.
/// <https://github.com/torvalds/linux/blob/master/include/uapi/linux/tcp.h>
const NOT_SENT: usize = 144;
const SENT: usize = 200;
const SENT_AGAIN: usize = 208;
/// As much of it as is asked for, in bytes.
const LENGTH: usize = 216;

/// The bytes that were written to a TCP connection since it began, by whichever process: sent or waiting to be. `tcp(7)`, `TCP_INFO`.
///
/// # Errors
/// When it is no TCP connection, or the kernel does not say (before Linux 4.19).
pub fn written(connection: BorrowedFd<'_>) -> io::Result<u64> {
    let mut info = [0_u8; LENGTH];
    let mut length: libc::socklen_t = LENGTH as libc::socklen_t;
    // SAFETY: the kernel writes `length` bytes at most into memory that is as large, and says how many.
    let refused = unsafe {
        let into = info.as_mut_ptr().cast();
        libc::getsockopt(connection.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, into, &raw mut length) != 0
    };
    if refused {
        return Err(io::Error::last_os_error());
    }
    if (length as usize) < LENGTH {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let long = |at: usize| info[at..].first_chunk().copied().map_or(0, u64::from_ne_bytes);
    let short = |at: usize| info[at..].first_chunk().copied().map_or(0, u32::from_ne_bytes);
    Ok(long(SENT).wrapping_sub(long(SENT_AGAIN)).wrapping_add(short(NOT_SENT).into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    #[test]
    fn what_was_written_counts_whether_it_was_read_or_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let _client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (mut stream, _) = listener.accept().expect("a connection");
        let written = |stream: &TcpStream| super::written(stream.as_fd()).expect("told");
        assert_eq!(written(&stream), 0);
        stream.write_all(b"12345").expect("written");
        assert_eq!(written(&stream), 5);
        stream.try_clone().expect("another").write_all(&[0; 100_000]).expect("written");
        assert_eq!(written(&stream), 100_005);
        assert!(super::written(listener.as_fd()).is_ok());
        assert!(super::written(std::io::stdin().as_fd()).is_err());
    }
}
