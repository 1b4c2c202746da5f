//! What stands behind the question mark.

use std::str::FromStr;

use super::refusal::Refusal;
use crate::name::NameError;

/// Rollouts that a history has where no limit is asked for.
pub(super) const LIMIT: usize = 100;

/// Most rollouts that one answer has: some hundred kilobytes.
pub(super) const LIMIT_MAX: usize = 1000;

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

    pub(super) fn limit(&self) -> Result<usize, Refusal> {
        let Some(given) = self.text("limit") else {
            return Ok(LIMIT);
        };
        match given.parse() {
            Ok(limit @ 1..=LIMIT_MAX) => Ok(limit),
            Ok(_) | Err(_) => Err(Refusal::Limit {
                given: given.to_owned(),
                max: LIMIT_MAX,
            }),
        }
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
}
