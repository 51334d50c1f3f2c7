//! What a message asks of the next hop, in the words of a `demands` step.

use estafette::mail::dsn::{Notify, Return};
use estafette::mail::envelope::Demands;

/// Demands in the words of a `demands` step.
pub(crate) fn words_of(demands: &Demands) -> String {
    let mut words = Vec::new();
    words.extend(demands.smtputf8.then(|| "SMTPUTF8".to_owned()));
    words.extend(demands.require_tls.then(|| "REQUIRETLS".to_owned()));
    words.extend(demands.dsn.ret.map(|ret| match ret {
        Return::Full => "RET=FULL".to_owned(),
        Return::Headers => "RET=HDRS".to_owned(),
    }));
    words.extend(demands.dsn.envelope_id.as_ref().map(|id| format!("ENVID={id}")));
    for (index, request) in demands.recipients.iter().enumerate() {
        let notify = request.notify.map(|notify| match notify {
            Notify::Never => "NEVER".to_owned(),
            Notify::On {
                success,
                failure,
                delay,
            } => {
                let wishes = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
                let wished: Vec<_> = wishes
                    .iter()
                    .filter(|(is_wished, _)| *is_wished)
                    .map(|(_, word)| *word)
                    .collect();
                wished.join(",")
            }
        });
        let asked = notify.into_iter().chain(request.original_recipient.clone());
        words.extend(asked.map(|word| format!("{}:{word}", index + 1)));
    }
    words.join(" ")
}
