//! A reload that changes how many sessions there may be.

use std::net::TcpStream;
use std::time::Duration;

use estafette::io::listener::DOOR_MAX;

use crate::common::{CERTIFICATES_ONLY, Relay, base_config, free_port, wait_until};
use crate::{connect_from, plain_connection, read_line};

const BUSY: &str = "421 4.3.2 relay.example.org All server ports are busy\r\n";

fn configure(relay: &Relay, sessions_max: usize) {
    let base = base_config(relay.port, 9);
    relay.write_config(&format!(
        "default_process_limit = {sessions_max}\nsmtpd_stranger_session_share = 90\nlog_level = \"error\"\n\
         smtpd_client_event_limit_exceptions = [\"127.0.0.0/8\"]\n{CERTIFICATES_ONLY}{base}"
    ));
}

fn reload(relay: &Relay) {
    let output = relay.command(&["reload"], &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !said.contains("restart"), "{said}");
}

/// What a session that was greeted is told at last, if anything.
fn told(stream: &mut TcpStream) -> String {
    let patience = Some(Duration::from_millis(10));
    stream.set_read_timeout(patience).expect("a socket");
    read_line(stream)
}

#[test]
fn reload_that_changes_the_session_limit_holds_both_ways() {
    let mut relay = Relay::prepare("", free_port());
    configure(&relay, 10);
    relay.spawn();
    configure(&relay, 700);
    reload(&relay);
    // More than there were permits for at the start: 10 sessions and whoever may stand at the door.
    let addresses = (0..DOOR_MAX + 60).map(|number| {
        let [.., high, low] = number.to_be_bytes();
        [127, 3, high, low.max(1)]
    });
    let connections: Vec<_> = addresses.map(|address| plain_connection(address, &relay)).collect();
    let mut sessions = connections;
    for stream in &mut sessions {
        let greeting = read_line(stream);
        assert!(greeting.starts_with("220 "), "{greeting}");
    }
    configure(&relay, 20);
    reload(&relay);
    wait_until("all but 18 strangers were told to end", || {
        sessions.retain_mut(|stream| told(stream) != BUSY);
        sessions.len() <= 18
    });
    let (_, greeting) = connect_from([127, 4, 0, 1], &relay);
    assert!(greeting.starts_with("220 "), "{greeting}");
    wait_until("and one more made room for the next", || {
        sessions.retain_mut(|stream| told(stream) != BUSY);
        sessions.len() <= 17
    });
    assert_eq!(sessions.len(), 17);
}
