//! Times as an operator types them.

use crate::time::{Timestamp, parse_duration};

/// How long ago, or a point in time.
pub(super) fn point(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(ago) = parse_duration(text) {
        let millis = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp(now.0.saturating_sub(millis)));
    }
    Timestamp::parse(text).map_err(|why| format!("{text}: {why}, or how long ago such as \"2h\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_a_point_or_how_long_ago() {
        assert!(point("yesterday", Timestamp(0)).unwrap_err().contains("2h"));
        assert_eq!(point("2h", Timestamp(7_200_001)), Ok(Timestamp(1)));
    }
}
