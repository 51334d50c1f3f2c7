//! The filters of a listener, made of its directives.

use std::time::Duration;

use super::milters::{ListedMilter, action_of};
use super::scope::Scope;
use crate::io::milter::settings::{DefaultAction, Filters, Milter};
use crate::net::CidrSet;
use crate::wire::milter::options::{MacroStage, VERSION};

/// The filters of a listener.
pub fn filters(scope: &Scope) -> Filters {
    let own_or = |own: Option<Duration>, name: &str| own.unwrap_or_else(|| scope.time(name));
    let default_action = scope.text("milter_default_action").and_then(action_of);
    let version = u32::try_from(scope.number("milter_protocol")).unwrap_or(VERSION);
    let milter = |listed: &ListedMilter| Milter {
        name: listed.name.clone(),
        endpoint: listed.endpoint.clone(),
        default_action: listed
            .default_action
            .or(default_action)
            .unwrap_or(DefaultAction::TempFail),
        connect_timeout: own_or(listed.connect_timeout, "milter_connect_timeout"),
        command_timeout: own_or(listed.command_timeout, "milter_command_timeout"),
        content_timeout: own_or(listed.content_timeout, "milter_content_timeout"),
        version: listed.version.unwrap_or(version),
    };
    let macros = [
        (MacroStage::Connect, "milter_connect_macros"),
        (MacroStage::Hello, "milter_helo_macros"),
        (MacroStage::Mail, "milter_mail_macros"),
        (MacroStage::Recipient, "milter_rcpt_macros"),
        (MacroStage::Data, "milter_data_macros"),
        (MacroStage::EndOfHeader, "milter_end_of_header_macros"),
        (MacroStage::EndOfMessage, "milter_end_of_data_macros"),
    ];
    let text = |name: &str| scope.text(name).unwrap_or_default().to_owned();
    Filters {
        milters: scope.milters("smtpd_milters").iter().map(milter).collect(),
        macros: macros.map(|(stage, name)| (stage, scope.words(name).to_vec())).into(),
        daemon_name: text("milter_macro_daemon_name"),
        version_text: text("milter_macro_v"),
        myhostname: text("myhostname"),
        disabled: CidrSet::new(scope.networks("smtpd_milter_maps").to_vec()),
        message_octets_max: scope.number("message_size_limit"),
    }
}
