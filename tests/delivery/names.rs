//! A name server with a small zone on a loopback port.

use std::net::SocketAddr;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, MX};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

/// Starts it; it lives as long as the test's runtime.
pub(crate) async fn start() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let _ = socket.send_to(&answer(&question).to_vec().unwrap(), from).await;
        }
    });
    address
}

fn answer(question: &Message) -> Message {
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.metadata.recursion_available = true;
    for query in &question.queries {
        reply.add_query(query.clone());
        let name = query.name().to_ascii().to_ascii_lowercase();
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

fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, Name::from_ascii(host).unwrap()))
}

fn a(last: u8) -> RData {
    RData::A(A::new(127, 0, 0, last))
}

fn zone(name: &str, kind: RecordType) -> Result<Vec<RData>, ResponseCode> {
    match (name, kind) {
        ("many.test.", RecordType::MX) => Ok(vec![mx(20, "c.test."), mx(10, "B.test."), mx(5, "a.test.")]),
        ("null.test.", RecordType::MX) => Ok(vec![mx(0, ".")]),
        ("us.test.", RecordType::MX) => Ok(vec![mx(10, "relay.example.org."), mx(20, "a.test.")]),
        ("dead.test.", RecordType::MX) => Ok(vec![mx(10, "gone.test.")]),
        ("waits.test.", RecordType::MX) => Ok(vec![mx(10, "gone.test."), mx(20, "broken.test.")]),
        ("two.test.", RecordType::MX) => Ok(vec![mx(10, "b.test."), mx(20, "a.test.")]),
        ("a.test.", RecordType::A) => Ok(vec![a(1)]),
        ("a.test.", RecordType::AAAA) => Ok(vec![RData::AAAA(AAAA::new(0, 0, 0, 0, 0, 0, 0, 1))]),
        ("b.test." | "implicit.test.", RecordType::A) => Ok(vec![a(2)]),
        ("c.test.", RecordType::A) => Ok(vec![a(3)]),
        ("broken.test.", _) => Err(ResponseCode::ServFail),
        ("a.test." | "b.test." | "c.test." | "implicit.test.", _) => Ok(Vec::new()),
        _ => Err(ResponseCode::NXDomain),
    }
}
