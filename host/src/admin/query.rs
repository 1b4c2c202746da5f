//! What stands behind the question mark.

use std::str::FromStr;

use super::refusal::Refusal;
use crate::capability::streams::EntryId;
use crate::name::NameError;

/// Rollouts that a history has where no limit is asked for.
pub(super) const LIMIT: usize = 100;

/// Most rollouts that one answer has: some hundred kilobytes.
pub(super) const LIMIT_MAX: usize = 1000;

/// Messages that an answer has where no limit is asked for: what fits a person's screen.
pub(super) const MESSAGES: usize = 20;

/// Most messages that one answer has. A backend reads them into memory, and each may have a megabyte.
pub(super) const MESSAGES_MAX: usize = 200;

/// Longest name of an entry; those of the backends have some tens of characters.
const ENTRY_BYTES_MAX: usize = 64;

/// A query whose every parameter is known. Nothing that may stand in one needs escaping.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    /// Reads a query that may have each of `known` once.
    pub(super) fn read(query: Option<&'a str>, known: &[&str]) -> Result<Self, Refusal> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for part in query.unwrap_or_default().split('&') {
            if part.is_empty() {
                continue;
            }
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let twice = pairs.iter().any(|(other, _)| *other == name);
            if twice || !known.contains(&name) {
                return Err(Refusal::Query(part.to_owned()));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        let pair = self.0.iter().find(|(known, _)| *known == name);
        pair.map(|(_, value)| *value)
    }

    /// A parameter, where it is there.
    pub(super) fn get<T: FromStr<Err = NameError>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Refusal> {
        Ok(self.text(name).map(str::parse).transpose()?)
    }

    /// How many rollouts are asked for.
    pub(super) fn limit(&self) -> Result<usize, Refusal> {
        self.limit_within(LIMIT, LIMIT_MAX)
    }

    /// How many messages are asked for.
    pub(super) fn messages_limit(&self) -> Result<usize, Refusal> {
        self.limit_within(MESSAGES, MESSAGES_MAX)
    }

    fn limit_within(&self, default: usize, max: usize) -> Result<usize, Refusal> {
        let Some(given) = self.text("limit") else {
            return Ok(default);
        };
        match given.parse() {
            Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
            Ok(_) | Err(_) => Err(Refusal::Limit {
                given: given.to_owned(),
                max,
            }),
        }
    }

    /// Whether something is asked for: `true`, or `false` as where it is left out.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.text(name) {
            Some("true") => Ok(true),
            Some("false") | None => Ok(false),
            Some(other) => Err(Refusal::Query(format!("{name}={other}"))),
        }
    }

    /// An entry of a stream, where it is there.
    pub(super) fn entry(&self, name: &str) -> Result<Option<EntryId>, Refusal> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if text.is_empty() || text.len() > ENTRY_BYTES_MAX || !plain {
            return Err(Refusal::Query(format!("{name}={text}")));
        }
        Ok(Some(EntryId::new(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ComponentName;

    const KNOWN: [&str; 2] = ["component", "limit"];

    #[test]
    fn known_parameters_are_read() {
        let query = Query::read(Some("limit=7&component=hello"), &KNOWN).expect("a query");
        assert_eq!(query.limit().expect("a limit"), 7);
        let component: Option<ComponentName> = query.get("component").expect("a name");
        assert_eq!(component.expect("it is there").as_str(), "hello");
        let empty = Query::read(None, &KNOWN).expect("a query");
        assert_eq!(empty.limit().expect("a limit"), LIMIT);
        assert!(
            empty
                .get::<ComponentName>("component")
                .expect("fine")
                .is_none()
        );
    }

    #[test]
    fn what_is_unknown_doubled_or_out_of_range_is_refused() {
        for bad in ["colour=blue", "limit=1&limit=2", "Limit=1", "=1"] {
            assert!(Query::read(Some(bad), &KNOWN).is_err(), "{bad}");
        }
        for bad in ["limit=0", "limit=1001", "limit=", "limit=-1", "limit=ten"] {
            let query = Query::read(Some(bad), &KNOWN).expect("a query");
            assert!(query.limit().is_err(), "{bad}");
        }
        let query = Query::read(Some("component=No"), &KNOWN).expect("a query");
        assert!(query.get::<ComponentName>("component").is_err());
    }

    #[test]
    fn messages_have_their_own_limit_flags_and_entries() {
        const KNOWN: [&str; 3] = ["after", "limit", "full"];
        let read = |text| Query::read(Some(text), &KNOWN).expect("a query");
        assert_eq!(read("").messages_limit().expect("a limit"), MESSAGES);
        assert_eq!(read("limit=200").messages_limit().expect("a limit"), 200);
        assert!(read("limit=201").messages_limit().is_err());
        assert!(read("full=true").flag("full").expect("a flag"));
        assert!(!read("full=false").flag("full").expect("a flag"));
        assert!(!read("").flag("full").expect("a flag"));
        assert!(read("full").flag("full").is_err());
        for good in ["7", "1700000000000-0"] {
            let query = format!("after={good}");
            let entry = Query::read(Some(&query), &KNOWN).expect("a query");
            let entry = entry.entry("after").expect("an entry");
            assert_eq!(entry.expect("it is there").as_str(), good);
        }
        for bad in ["after=", "after=a%20b", "after=*"] {
            assert!(read(bad).entry("after").is_err(), "{bad}");
        }
    }
}
