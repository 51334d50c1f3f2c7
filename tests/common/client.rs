//! A blocking SMTP client that says exactly what a test tells it to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

enum Stream {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

pub struct Client {
    stream: Stream,
    unread: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub code: u16,
    pub text: String,
}

impl Client {
    /// Connects and reads the greeting.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut client = Self::connect_silently(address)?;
        client.read_reply()?;
        Ok(client)
    }

    /// Connects and reads nothing.
    pub fn connect_silently(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: Stream::Plain(stream),
            unread: Vec::new(),
        })
    }

    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(octets),
            Stream::Tls(stream) => {
                stream.write_all(octets)?;
                stream.flush()
            }
        }
    }

    /// Says a line and reads the reply.
    pub fn say(&mut self, line: &str) -> io::Result<Reply> {
        self.write(format!("{line}\r\n").as_bytes())?;
        self.read_reply()
    }

    pub fn read_reply(&mut self) -> io::Result<Reply> {
        let mut text = String::new();
        loop {
            let line = self.read_line()?;
            text.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                let code = line.get(..3).and_then(|code| code.parse().ok());
                return Ok(Reply {
                    code: code.ok_or_else(|| io::Error::other(line))?,
                    text,
                });
            }
        }
    }

    /// The next line, as it came.
    pub fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            let mut buffer = [0; 4096];
            let count = match &mut self.stream {
                Stream::Plain(stream) => stream.read(&mut buffer)?,
                Stream::Tls(stream) => stream.read(&mut buffer)?,
            };
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread.extend_from_slice(&buffer[..count]);
        }
    }

    /// Whether the peer has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.read_line(), Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    /// Everything up to the end of the stream. The peer must end it cleanly: in TLS with a `close_notify`.
    pub fn read_end(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = std::mem::take(&mut self.unread);
        match &mut self.stream {
            Stream::Plain(stream) => stream.read_to_end(&mut rest)?,
            Stream::Tls(stream) => stream.read_to_end(&mut rest)?,
        };
        Ok(rest)
    }

    /// Says that nothing more will be sent; replies can still be read.
    pub fn finish(&mut self) -> io::Result<()> {
        self.close_tls()?;
        self.tcp().shutdown(Shutdown::Write)
    }

    /// Says that nothing more will be sent in TLS, on a connection that stays open.
    pub fn close_tls(&mut self) -> io::Result<()> {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        Ok(())
    }

    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        }
    }

    /// STARTTLS and the handshake, showing a certificate of the directory (`alice`) or none.
    pub fn start_tls(mut self, directory: &Path, certificate: Option<&str>) -> io::Result<Self> {
        let reply = self.say("STARTTLS")?;
        assert_eq!(reply.code, 220, "{}", reply.text);
        self.handshake(directory, certificate)
    }

    /// The handshake alone.
    pub fn handshake(self, directory: &Path, certificate: Option<&str>) -> io::Result<Self> {
        let config = tls_config(directory, certificate);
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
        let Stream::Plain(tcp) = self.stream else {
            panic!("already in TLS")
        };
        let mut stream = rustls::StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self {
            stream: Stream::Tls(Box::new(stream)),
            unread: Vec::new(),
        })
    }

    /// EHLO, MAIL, RCPT, DATA, the message; the reply that ended it.
    pub fn send(&mut self, reverse_path: &str, forward_paths: &[&str], data: &str) -> io::Result<Reply> {
        let reply = self.say(&format!("MAIL FROM:<{reverse_path}>"))?;
        if reply.code != 250 {
            return Ok(reply);
        }
        let mut permitted = false;
        let mut last = reply;
        for forward_path in forward_paths {
            last = self.say(&format!("RCPT TO:<{forward_path}>"))?;
            permitted |= last.code == 250;
        }
        if !permitted {
            return Ok(last);
        }
        let reply = self.say("DATA")?;
        if reply.code != 354 {
            return Ok(reply);
        }
        self.write(format!("{data}\r\n.\r\n").as_bytes())?;
        self.read_reply()
    }
}

fn tls_config(directory: &Path, certificate: Option<&str>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for ca in certificates(&directory.join("CAcert.pem")) {
        roots.add(ca).expect("a CA");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    Arc::new(match certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = certificates(&directory.join(format!("{name}.pem")));
            builder
                .with_client_auth_cert(chain, key(&directory.join(format!("{name}.key"))))
                .expect("certificate and key")
        }
    })
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    let pem = std::fs::read(path).expect("certificate file");
    rustls_pemfile::certs(&mut pem.as_slice())
        .map(|der| der.expect("PEM"))
        .collect()
}

fn key(path: &Path) -> PrivateKeyDer<'static> {
    let pem = std::fs::read(path).expect("key file");
    rustls_pemfile::private_key(&mut pem.as_slice())
        .expect("PEM")
        .expect("a key")
}
