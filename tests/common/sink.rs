//! A receiving SMTP server for tests: keeps what it gets, and refuses what the local-part asks it to refuse.
//!
//! `fail…@` is answered 550, `defer…@` 451, `later…@` 451 while the sink is told to; the final dot for `slow…@` is answered
//! slowly. It speaks plain SMTP with PIPELINING and counts transactions and connections.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How long the final dot for `slow…@` waits for its answer.
const SLOWNESS: Duration = Duration::from_millis(150);

#[derive(Clone, Debug)]
pub struct Received {
    pub reverse_path: String,
    pub forward_paths: Vec<String>,
    pub data: Vec<u8>,
}

#[derive(Clone)]
pub struct Sink {
    pub port: u16,
    /// What is kept of a message.
    keep: fn(Received) -> Received,
    messages: Arc<Mutex<Vec<Received>>>,
    open: Arc<AtomicUsize>,
    cut: Arc<AtomicUsize>,
    refuses_later: Arc<AtomicBool>,
}

impl Sink {
    pub fn start() -> Self {
        Self::start_on(0)
    }

    pub fn start_on(port: u16) -> Self {
        Self::start_keeping((Ipv4Addr::LOCALHOST, port).into(), |received| received)
    }

    /// As [`Sink::start`], at an address, and keeping of each message what `keep` makes of it.
    pub fn start_keeping(address: SocketAddr, keep: fn(Received) -> Received) -> Self {
        let listener = TcpListener::bind(address).expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let sink = Self {
            port,
            keep,
            messages: Arc::default(),
            open: Arc::default(),
            cut: Arc::default(),
            refuses_later: Arc::default(),
        };
        let serving = sink.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sink = serving.clone();
                sink.open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    if sink.serve(stream).is_none() {
                        sink.cut.fetch_add(1, Ordering::SeqCst);
                    }
                    sink.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        sink
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Connections that ended otherwise than by QUIT.
    pub fn cut(&self) -> usize {
        self.cut.load(Ordering::SeqCst)
    }

    /// Whether `later…@` is answered 451 from now on.
    pub fn refuse_later(&self, refuses: bool) {
        self.refuses_later.store(refuses, Ordering::SeqCst);
    }

    pub fn messages(&self) -> Vec<Received> {
        self.messages.lock().expect("messages").clone()
    }

    pub fn count(&self) -> usize {
        self.messages.lock().expect("messages").len()
    }

    /// `None` when the connection ended otherwise than by QUIT.
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
                "RCPT" if path.starts_with("later") && self.refuses_later.load(Ordering::SeqCst) => "451 4.7.1 Not yet",
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
                    if forward_paths.iter().any(|path| path.starts_with("slow")) {
                        thread::sleep(SLOWNESS);
                    }
                    self.messages.lock().expect("messages").push((self.keep)(message));
                    "250 2.0.0 Ok"
                }
                "QUIT" => {
                    let _ = out.write_all(b"221 2.0.0 Bye\r\n");
                    return Some(());
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
