//! A socket for messages between two processes of one machine, each with at most one file descriptor. `unix(7)`, `SOCK_SEQPACKET`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The largest message in bytes.
const LARGEST: usize = 16 * 1024;

/// One end of the socket. To tokio every socket of this family is a stream; only whole messages are read and written here.
#[derive(Debug)]
pub struct Channel(UnixStream);

impl Channel {
    /// Two ends: one for the calling process, one for another.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self::new(ours)?, theirs))
    }

    /// An end that another process gave.
    ///
    /// # Errors
    /// When it is no socket.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(end);
        socket.set_nonblocking(true)?;
        Ok(Self(UnixStream::from_std(socket)?))
    }

    /// Sends a message, and a descriptor, which both processes then have.
    ///
    /// # Errors
    /// When the other process is gone.
    pub async fn send(&self, message: &impl Serialize, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
        let send = || {
            let descriptors = descriptor.as_slice();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
            Ok(())
        };
        loop {
            self.0.writable().await?;
            match self.0.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
    }

    /// The next message, with its descriptor if it has one. Nothing when the other process is gone.
    ///
    /// # Errors
    /// When the message is none.
    pub async fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Option<OwnedFd>)>> {
        let mut bytes = vec![0; LARGEST];
        let mut receive = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut into = [IoSliceMut::new(&mut bytes)];
            let received = recvmsg(&self.0, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            let descriptor = ancillary.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                _ => None,
            });
            Ok((received.bytes, descriptor))
        };
        let (length, descriptor) = loop {
            self.0.readable().await?;
            match self.0.try_io(Interest::READABLE, &mut receive) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                received => break received?,
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let message = postcard::from_bytes(&bytes[..length]).map_err(io::Error::other)?;
        Ok(Some((message, descriptor)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::Channel;

    #[tokio::test]
    async fn a_descriptor_crosses_with_its_message() {
        let (ours, theirs) = Channel::pair().expect("a pair");
        let theirs = Channel::new(theirs).expect("an end");
        let (mut kept, sent) = UnixStream::pair().expect("a pair");
        ours.send(&"with", Some(sent.as_fd())).await.expect("sent");
        ours.send(&"without", None).await.expect("sent");
        drop(sent);
        let (text, descriptor) = theirs.receive::<String>().await.expect("received").expect("a message");
        assert_eq!(text, "with");
        let mut received = UnixStream::from(descriptor.expect("a descriptor"));
        std::io::Write::write_all(&mut received, b"x").expect("written");
        drop(received);
        let mut read = String::new();
        kept.read_to_string(&mut read).expect("read");
        assert_eq!(read, "x");
        let (text, descriptor) = theirs.receive::<String>().await.expect("received").expect("a message");
        assert!(text == "without" && descriptor.is_none());
        drop(ours);
        assert!(theirs.receive::<String>().await.expect("the end").is_none());
    }
}
