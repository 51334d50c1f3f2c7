//! The zone of the delivery tests.

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::{A, AAAA, MX};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, Name::from_ascii(host).unwrap()))
}

fn a(last: u8) -> RData {
    RData::A(A::new(127, 0, 0, last))
}

pub(crate) fn zone(name: &str, kind: RecordType) -> Result<Vec<RData>, ResponseCode> {
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
