//! Real filters from Debian: OpenDKIM, which signs and verifies, and rspamd, which rejects and adds fields.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::{free_port, wait_until};
use crate::{delivered, relay_with, send};

/// A filter that runs in the foreground until the test ends.
struct Filter(Child);

impl Drop for Filter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn debian(program: &str) -> Command {
    let mut command = Command::new(program);
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    command.env("PATH", path).stdin(Stdio::null());
    command
}

/// Starts it and waits until it listens.
fn start(mut command: Command, log: &Path, port: u16) -> Filter {
    let out = fs::File::create(log).expect("a log");
    command.stderr(out.try_clone().expect("a log")).stdout(out);
    let child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: run tests/run"));
    let mut filter = Filter(child);
    wait_until("the filter listens", || {
        let ended = filter.0.try_wait().expect("wait");
        let said = fs::read_to_string(log).unwrap_or_default();
        assert!(ended.is_none(), "it ended: {said}");
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    filter
}

/// OpenDKIM with a key of its own, on a port.
fn opendkim(directory: &Path, mode: &str, port: u16) -> Filter {
    let config = directory.join(format!("opendkim-{mode}.conf"));
    let text = format!(
        "Syslog no\nLogWhy yes\nMode {mode}\nDomain example.org\nSelector test\nKeyFile {0}/test.private\n\
         Canonicalization relaxed/simple\nInternalHosts {0}/internal\nTestPublicKeys {0}/public\n\
         Socket inet:{port}@127.0.0.1\nAutoRestart no\nRequireSafeKeys no\nAlwaysAddARHeader yes\nAuthservID relay.example.org\n",
        directory.display()
    );
    fs::write(&config, text).expect("written");
    let mut command = debian("opendkim");
    command.arg("-f").arg("-x").arg(&config);
    start(command, &directory.join(format!("opendkim-{mode}.log")), port)
}

/// A key, and the file that stands for its record in the DNS.
fn make_key(directory: &Path) {
    let made = debian("openssl")
        .args(["genrsa", "-traditional", "-out"])
        .arg(directory.join("test.private"))
        .arg("2048")
        .output()
        .expect("openssl");
    assert!(made.status.success());
    let public = debian("openssl")
        .args(["rsa", "-pubout", "-in"])
        .arg(directory.join("test.private"))
        .output()
        .expect("openssl");
    let public = String::from_utf8(public.stdout).expect("PEM");
    let key: String = public.lines().filter(|line| !line.starts_with('-')).collect();
    let record = format!("test._domainkey.example.org v=DKIM1; k=rsa; p={key}\n");
    fs::write(directory.join("public"), record).expect("written");
    fs::write(directory.join("internal"), "127.0.0.1\n").expect("written");
}

#[test]
fn opendkim_signs_what_opendkim_verifies() {
    let directory = tempfile::tempdir().expect("a directory");
    make_key(directory.path());
    let (signing, verifying) = (free_port(), free_port());
    let _signer = opendkim(directory.path(), "s", signing);
    let (relay, sink) = relay_with(&format!("smtpd_milters = [\"inet:127.0.0.1:{signing}\"]\n"));
    let message = "From: Alice <alice@example.org>\r\nTo: bob@example.net\r\n\
        Subject: a folded\r\n\tsubject\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n\
        Hello\r\n..a dot\r\n\r\nBye";
    let reply = send(&relay, message);
    assert_eq!(reply.code, 250, "{}\n{}", reply.text, relay.log_text());
    let signed = delivered(&sink, 0);
    assert!(
        signed.starts_with("DKIM-Signature: "),
        "INSHEADER 0 is above our trace header: {signed}"
    );
    assert!(signed.contains("DKIM-Signature: v=1; a=rsa-sha256"), "{signed}");

    // What the next host receives verifies there, the trace header put above it included.
    fs::write(directory.path().join("internal"), "192.0.2.1\n").expect("written");
    let _verifier = opendkim(directory.path(), "v", verifying);
    let (second, second_sink) = relay_with(&format!("smtpd_milters = [\"inet:127.0.0.1:{verifying}\"]\n"));
    let stuffed = signed.trim_end().replace("\r\n.", "\r\n..");
    assert_eq!(send(&second, &stuffed).code, 250);
    let verified = delivered(&second_sink, 0);
    assert!(
        verified.contains("dkim=pass"),
        "{verified}\n{}",
        fs::read_to_string(directory.path().join("opendkim-v.log")).unwrap_or_default()
    );
    let altered = stuffed.replace("Hello", "Hullo");
    assert_eq!(send(&second, &altered).code, 250);
    let refuted = delivered(&second_sink, 1);
    assert!(
        refuted.contains("dkim=fail") && !refuted.contains("dkim=pass"),
        "{refuted}"
    );
}

/// Only what this test needs: no lists, no languages, no DNS.
fn rspamd(directory: &Path, port: u16) -> Filter {
    let here = directory.display();
    fs::create_dir(directory.join("languages")).expect("made");
    fs::write(directory.join("tld.dat"), "org\nnet\nexample\n").expect("written");
    let config = format!(
        r#"options {{
  filters = ""; cache_file = "{here}/symcache"; dynamic_conf = "{here}/dynamic.conf"; control_socket = "{here}/control mode=0600";
  hs_cache_dir = "{here}"; tempdir = "{here}"; url_tld = "{here}/tld.dat"; gtube_patterns = "all"; rrd = "";
  dns {{ nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }}
}}
lang_detection {{ languages = "{here}/languages"; }}
logging {{ type = "console"; level = "info"; color = false; }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{port}"; milter = yes; count = 1; timeout = 60s;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
actions {{ reject = 15; add_header = 6; greylist = null; }}
modules {{ path = "/usr/share/rspamd/plugins/milter_headers.lua"; }}
milter_headers {{
  use = ["x-spamd-result", "x-spam-status", "x-spamd-bar"]; skip_local = false; skip_authenticated = false;
}}
lua = "/usr/share/rspamd/rules/rspamd.lua";
"#
    );
    let path = directory.join("rspamd.conf");
    fs::write(&path, config).expect("written");
    let mut command = debian("rspamd");
    command.args(["-f", "-i", "-c"]).arg(&path);
    start(command, &directory.join("rspamd.log"), port)
}

#[test]
fn rspamd_rejects_gtube_and_adds_fields_to_the_rest() {
    let directory = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let _rspamd = rspamd(directory.path(), port);
    let (relay, sink) = relay_with(&format!("smtpd_milters = [\"inet:127.0.0.1:{port}\"]\n"));
    let head = "From: Alice <alice@example.org>\r\nTo: bob@example.net\r\nSubject: x\r\n\
        Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n";
    let reply = send(&relay, &format!("{head}Hello Bob"));
    let log = || fs::read_to_string(directory.path().join("rspamd.log")).unwrap_or_default();
    assert_eq!(reply.code, 250, "{}\n{}\n{}", reply.text, relay.log_text(), log());
    let text = delivered(&sink, 0);
    assert!(
        text.contains("\r\nX-Spamd-Result: ") && text.contains("\r\nX-Spamd-Bar: "),
        "{text}\n{}",
        log()
    );

    let gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
    let reply = send(&relay, &format!("{head}{gtube}"));
    assert!(
        reply.code == 554 && reply.text.contains("Gtube pattern"),
        "{}\n{}",
        reply.text,
        log()
    );
    assert_eq!(sink.count(), 1);
    let why = relay.command(&["why"], &["--verdict", "reject"]);
    assert!(String::from_utf8_lossy(&why.stdout).contains("smtpd_milters"));
}
