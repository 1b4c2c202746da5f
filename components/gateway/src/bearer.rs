//! Bearer credentials in a request (RFC 6750, section 2.1), and what to say when there are none.

/// Longest token that is passed on to auth; ours have a few hundred bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Why a request has no usable token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoToken {
    /// There is no bearer credential at all. RFC 6750 section 3.1: the challenge then names no error.
    Missing,
    /// There is something in its place that cannot be a token, or more than one.
    Malformed,
}

/// Takes the values of all `Authorization` headers and gives the token.
pub fn token_of(headers: &[Vec<u8>]) -> Result<&str, NoToken> {
    let [header] = headers else {
        return Err(if headers.is_empty() {
            NoToken::Missing
        } else {
            NoToken::Malformed
        });
    };
    let header = std::str::from_utf8(header).map_err(|_| NoToken::Malformed)?;
    let (scheme, token) = header.trim().split_once(' ').ok_or(NoToken::Missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(NoToken::Missing);
    }
    let token = token.trim();
    let plausible = (1..=TOKEN_BYTES_MAX).contains(&token.len())
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    if plausible {
        Ok(token)
    } else {
        Err(NoToken::Malformed)
    }
}

/// A `WWW-Authenticate` value; `description` is one of our own sentences, without quotes.
pub fn challenge(description: Option<&str>) -> String {
    match description {
        None => "Bearer realm=\"wharf\"".to_owned(),
        Some(text) => {
            format!("Bearer realm=\"wharf\", error=\"invalid_token\", error_description=\"{text}\"")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<String, NoToken> {
        let values: Vec<Vec<u8>> = values.iter().map(|v| v.as_bytes().to_vec()).collect();
        token_of(&values).map(str::to_owned)
    }

    #[test]
    fn a_token_is_found_in_any_case() {
        assert_eq!(read(&["Bearer a.b-c_d"]).as_deref(), Ok("a.b-c_d"));
        assert_eq!(read(&["bearer  x=="]).as_deref(), Ok("x=="));
    }

    #[test]
    fn other_credentials_are_missing_ones() {
        for values in [&[][..], &["Basic YTpi"], &["Bearer"], &[""]] {
            assert_eq!(read(values), Err(NoToken::Missing), "{values:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_token_is_malformed() {
        let long = format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX + 1));
        for values in [
            &["Bearer a", "Bearer b"][..],
            &["Bearer a b"],
            &["Bearer \"a\""],
            &["Bearer é"],
            &[long.as_str()],
        ] {
            assert_eq!(read(values), Err(NoToken::Malformed));
        }
    }

    #[test]
    fn a_challenge_names_an_error_only_for_a_token() {
        assert_eq!(challenge(None), "Bearer realm=\"wharf\"");
        assert!(challenge(Some("expired")).contains("error=\"invalid_token\""));
    }
}
