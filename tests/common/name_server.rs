//! A name server with a small zone on a loopback port.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};

/// What it knows: a name in lower case with its last dot, and a type.
pub(crate) trait Zone: Fn(&str, RecordType) -> Result<Vec<RData>, ResponseCode> + Send + 'static {}
impl<T: Fn(&str, RecordType) -> Result<Vec<RData>, ResponseCode> + Send + 'static> Zone for T {}

/// The code of a question that gets no answer at all.
pub(crate) const SILENCE: ResponseCode = ResponseCode::Unknown(4000);

/// A name server that runs until the test's process ends.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    pub(crate) fn start(zone: impl Zone) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("bound");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let Ok(question) = Message::from_vec(&buffer[..length]) else {
                    continue;
                };
                let reply = answer(&question, &zone, &log);
                if reply.metadata.response_code == SILENCE {
                    continue;
                }
                let _ = socket.send_to(&reply.to_vec().expect("a message"), from);
            }
        });
        Self { address, asked }
    }

    /// How often it was asked for this name and type.
    pub(crate) fn asked(&self, name: &str, kind: RecordType) -> usize {
        let wanted = format!("{name} {kind}");
        let asked = self.asked.lock().expect("the log");
        asked.iter().filter(|line| **line == wanted).count()
    }
}

fn answer(question: &Message, zone: &impl Zone, log: &Mutex<Vec<String>>) -> Message {
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.metadata.recursion_available = true;
    for query in &question.queries {
        reply.add_query(query.clone());
        let name = query.name().to_ascii().to_ascii_lowercase();
        log.lock()
            .expect("the log")
            .push(format!("{name} {}", query.query_type()));
        match zone(&name, query.query_type()) {
            Ok(found) => {
                for data in found {
                    reply.add_answer(Record::from_rdata(query.name().clone(), 60, data));
                }
            }
            Err(code) => reply.metadata.response_code = code,
        }
    }
    reply
}
