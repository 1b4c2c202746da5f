//! `-H NAME: VALUE`: headers that requests are given.

use anyhow::Context as _;
use http::{HeaderName, HeaderValue};

/// Headers as they are written, or in the lines of the file that `@FILE` names.
///
/// # Errors
///
/// A file cannot be read, or a header is none.
pub fn parse(arguments: &[String]) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
    let mut headers = Vec::new();
    for argument in arguments {
        let Some(file) = argument.strip_prefix('@') else {
            headers.push(header(argument)?);
            continue;
        };
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("-H @{file} cannot be read"))?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            headers.push(header(line).with_context(|| format!("in {file}"))?);
        }
    }
    Ok(headers)
}

fn header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let wrong = || format!("-H {text:?} is not of the form NAME: VALUE");
    let (name, value) = text.split_once(':').with_context(wrong)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).with_context(wrong)?;
    let value = HeaderValue::from_str(value.trim_start()).with_context(wrong)?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_from_arguments_and_files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("headers");
        std::fs::write(&file, "X-B: 2\n\nx-c:3\n").unwrap();
        let from_file = format!("@{}", file.display());
        let headers = parse(&["X-A:  1 : one".to_owned(), from_file]).unwrap();
        let texts: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        assert_eq!(texts, ["x-a=1 : one", "x-b=2", "x-c=3"]);
        assert!(parse(&["no colon".to_owned()]).is_err());
        assert!(parse(&["bad name: x".to_owned()]).is_err());
        assert!(parse(&["@/no/such/file".to_owned()]).is_err());
    }
}
