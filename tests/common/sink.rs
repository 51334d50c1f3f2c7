//! A receiving SMTP server for tests: keeps what it gets, and refuses what the local-part asks it to refuse.
//!
//! `fail…@` is answered 550, `defer…@` 451. It speaks plain SMTP with PIPELINING and counts transactions.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Clone, Debug)]
pub struct Received {
    pub reverse_path: String,
    pub forward_paths: Vec<String>,
    pub data: Vec<u8>,
}

#[derive(Clone)]
pub struct Sink {
    pub port: u16,
    messages: Arc<Mutex<Vec<Received>>>,
}

impl Sink {
    pub fn start() -> Self {
        Self::start_on(0)
    }

    pub fn start_on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let sink = Self {
            port,
            messages: Arc::default(),
        };
        let serving = sink.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sink = serving.clone();
                thread::spawn(move || sink.serve(stream));
            }
        });
        sink
    }

    pub fn messages(&self) -> Vec<Received> {
        self.messages.lock().expect("messages").clone()
    }

    pub fn count(&self) -> usize {
        self.messages.lock().expect("messages").len()
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut out = stream.try_clone().ok()?;
        let mut lines = BufReader::new(stream);
        out.write_all(b"220 sink.example.net ESMTP\r\n").ok()?;
        let (mut reverse_path, mut forward_paths) = (String::new(), Vec::new());
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let upper = line.to_ascii_uppercase();
            let path = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            let reply = match upper.get(..4).unwrap_or_default() {
                "EHLO" => "250-sink.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000000",
                "MAIL" => {
                    reverse_path = path;
                    forward_paths.clear();
                    "250 2.1.0 Ok"
                }
                "RCPT" if path.starts_with("fail") => "550 5.1.1 No such user here",
                "RCPT" if path.starts_with("defer") => "451 4.7.1 Come back later",
                "RCPT" => {
                    forward_paths.push(path);
                    "250 2.1.5 Ok"
                }
                "DATA" if forward_paths.is_empty() => "554 5.5.1 No valid recipients",
                "DATA" => {
                    out.write_all(b"354 Go on\r\n").ok()?;
                    let data = read_data(&mut lines)?;
                    let message = Received {
                        reverse_path: reverse_path.clone(),
                        forward_paths: forward_paths.clone(),
                        data,
                    };
                    self.messages.lock().expect("messages").push(message);
                    "250 2.0.0 Ok"
                }
                "QUIT" => {
                    let _ = out.write_all(b"221 2.0.0 Bye\r\n");
                    return None;
                }
                _ => "250 2.0.0 Ok",
            };
            out.write_all(format!("{reply}\r\n").as_bytes()).ok()?;
        }
    }
}

/// The mail data, dots taken out, exactly as it came.
fn read_data(lines: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        match line.as_slice() {
            b".\r\n" => return Some(data),
            [b'.', rest @ ..] => data.extend_from_slice(rest),
            line => data.extend_from_slice(line),
        }
    }
}
