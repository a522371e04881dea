//! Finds where a JSON object ends in the middle of a text.

/// Splits a text that begins with `{` after the brace that closes it, so that braces in strings do
/// not count; `None` if it is never closed. What is inside need not be valid: a script may ask for
/// bad arguments.
pub(super) fn split_object(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with('{') {
        return None;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (position, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' if !in_string => depth += 1,
            b'}' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return text.split_at_checked(position + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_strings_do_not_count() {
        assert_eq!(split_object(r#"{"a":"}","b":{"c":"\"}"}} rest"#), Some((r#"{"a":"}","b":{"c":"\"}"}}"#, " rest")));
        assert_eq!(split_object("{bad: é} é"), Some(("{bad: é}", " é")));
    }

    #[test]
    fn an_object_that_never_ends_is_none() {
        assert_eq!(split_object(r#"{"a":"#), None);
        assert_eq!(split_object("[]"), None);
    }
}
