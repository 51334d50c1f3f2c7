//! The socket to a filter: packets out and in, each within its time.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use super::failure::Failure;
use super::settings::Endpoint;
use crate::wire::milter::command::Command;
use crate::wire::milter::packet::split;
use crate::wire::milter::response::Response;

/// Octets read at once.
const READ_OCTETS: usize = 8 * 1024;

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection to a filter.
pub(super) struct Channel {
    socket: Socket,
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

impl Channel {
    pub(super) async fn connect(endpoint: &Endpoint, within: Duration) -> Result<Self, Failure> {
        let connecting = async {
            Ok::<_, io::Error>(match endpoint {
                Endpoint::Inet(host, port) => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    // Packets are written whole, and an answer is waited for.
                    let _ = stream.set_nodelay(true);
                    Socket::Tcp(stream)
                }
                Endpoint::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
            })
        };
        let connected = tokio::time::timeout(within, connecting).await;
        let socket = connected.map_err(|_elapsed| Failure::ConnectTimeout(within))?;
        Ok(Self {
            socket: socket.map_err(|error| Failure::Connect(error.to_string()))?,
            unread: Vec::new(),
            unsent: Vec::new(),
        })
    }

    /// Adds a command to what goes out with the next one that is answered.
    pub(super) fn put(&mut self, command: &Command) {
        self.unsent.extend(command.encode());
    }

    /// Octets that wait to go out.
    pub(super) fn unsent_octets(&self) -> usize {
        self.unsent.len()
    }

    /// Before an answer is waited for.
    ///
    /// # Errors
    /// [`Failure::OutOfPlace`]: the filter has said more than it was asked for, which would be taken for the answer.
    pub(super) fn check_unread(&self) -> Result<(), Failure> {
        if self.unread.is_empty() {
            Ok(())
        } else {
            Err(Failure::OutOfPlace("a second answer"))
        }
    }

    pub(super) async fn flush(&mut self, within: Duration) -> Result<(), Failure> {
        let octets = std::mem::take(&mut self.unsent);
        if octets.is_empty() {
            return Ok(());
        }
        let writing = async {
            match &mut self.socket {
                Socket::Tcp(stream) => stream.write_all(&octets).await,
                Socket::Unix(stream) => stream.write_all(&octets).await,
            }
        };
        let written = tokio::time::timeout(within, writing).await;
        written
            .map_err(|_elapsed| Failure::Timeout(within))?
            .map_err(|error| Failure::Broken(error.to_string()))
    }

    /// The next packet, PROGRESS included.
    pub(super) async fn response(&mut self, deadline: Instant, limit: Duration) -> Result<Response, Failure> {
        loop {
            if let Some((packet, taken)) = split(&self.unread)? {
                let response = Response::decode(packet)?;
                self.unread.drain(..taken);
                return Ok(response);
            }
            let reading = async {
                match &mut self.socket {
                    Socket::Tcp(stream) => read(stream, &mut self.unread).await,
                    Socket::Unix(stream) => read(stream, &mut self.unread).await,
                }
            };
            match tokio::time::timeout_at(deadline, reading).await {
                Err(_elapsed) => return Err(Failure::Timeout(limit)),
                Ok(Err(error)) => return Err(Failure::Broken(error.to_string())),
                Ok(Ok(0)) => return Err(Failure::Closed),
                Ok(Ok(_)) => {}
            }
        }
    }
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin), unread: &mut Vec<u8>) -> io::Result<usize> {
    unread.reserve(READ_OCTETS);
    stream.read_buf(unread).await
}
