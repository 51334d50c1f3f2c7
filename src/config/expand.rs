//! `$name` and `${name}` in values, as main.cf has them.
//!
//! **Implements** references to other directives, and `$$` for one dollar.
//! **Does not** have main.cf's conditional forms `${name?text}` and `${name:text}`.

/// Why a text cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// No directive of that name.
    #[error("${0} refers to no directive")]
    Unknown(String),
    /// A directive that refers to itself, perhaps by way of others.
    #[error("the references go round in a circle: {0}")]
    Cycle(String),
    /// `${` without `}`.
    #[error("${{ without a closing brace")]
    Unclosed,
    /// So many references that the text grows past all reason.
    #[error("the expanded text is longer than {EXPANDED_OCTETS_MAX} octets")]
    TooLong,
}

/// Longest text that references may expand to.
const EXPANDED_OCTETS_MAX: usize = 65_536;

/// Expands all references of a text; `lookup` gives the unexpanded text of a name, `within` the names being expanded.
///
/// # Errors
/// [`ExpandError`], by variant.
pub fn expand(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    within: &mut Vec<String>,
) -> Result<String, ExpandError> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let (name, tail) = split_name(after)?;
        if name.is_empty() {
            out.push('$');
        } else {
            out.push_str(&reference(name, lookup, within)?);
        }
        if out.len() > EXPANDED_OCTETS_MAX {
            return Err(ExpandError::TooLong);
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

fn reference(
    name: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    within: &mut Vec<String>,
) -> Result<String, ExpandError> {
    if within.iter().any(|outer| outer == name) {
        let mut circle = within.join(" -> ");
        circle.push_str(" -> ");
        circle.push_str(name);
        return Err(ExpandError::Cycle(circle));
    }
    let text = lookup(name).ok_or_else(|| ExpandError::Unknown(name.into()))?;
    within.push(name.into());
    let expanded = expand(&text, lookup, within);
    within.pop();
    expanded
}

/// The name behind a dollar and what follows; an empty name means that the dollar stands for itself.
fn split_name(after: &str) -> Result<(&str, &str), ExpandError> {
    if let Some(inner) = after.strip_prefix('{') {
        return inner.split_once('}').ok_or(ExpandError::Unclosed);
    }
    let end = after
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(after.len());
    Ok(after.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, ExpandError> {
        let lookup = |name: &str| match name {
            "a" => Some("A$b".to_owned()),
            "b" => Some("B".to_owned()),
            "loop" => Some("${pool}".to_owned()),
            "pool" => Some("$loop".to_owned()),
            _ => None,
        };
        expand(text, &lookup, &mut Vec::new())
    }

    #[test]
    fn references_are_replaced_through_each_other() {
        assert_eq!(expanded("x $a ${b}s $$5 $").as_deref(), Ok("x AB Bs $5 $"));
    }

    #[test]
    fn circle_and_unknown_name_are_refused() {
        assert_eq!(
            expanded("$loop"),
            Err(ExpandError::Cycle("loop -> pool -> loop".into()))
        );
        assert_eq!(expanded("$c"), Err(ExpandError::Unknown("c".into())));
        assert_eq!(expanded("${b"), Err(ExpandError::Unclosed));
    }
}
