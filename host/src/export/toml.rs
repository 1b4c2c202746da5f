//! TOML values as they are written.

/// A string in quotes.
pub(super) fn quoted(text: &str) -> String {
    ::toml::Value::from(text).to_string()
}

/// Strings in brackets.
pub(super) fn list<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<_> = texts
        .into_iter()
        .map(|text| quoted(text.as_ref()))
        .collect();
    format!("[{}]", texts.join(", "))
}
