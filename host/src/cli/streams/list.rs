//! `wharf streams [SUBJECT]`: how subjects and their groups stand.

use super::{Client, Options, operator};
use crate::admin::streams::model::SubjectStatus;
use crate::cli::operator::{Side, Table, took};
use crate::name::Subject;

pub(super) fn run(subject: Option<&Subject>, options: &Options) -> anyhow::Result<()> {
    operator::run(async {
        let path = match subject {
            Some(subject) => format!("/v1/streams?subject={subject}"),
            None => "/v1/streams".to_owned(),
        };
        let subjects: Vec<SubjectStatus> = Client::of(options)?.get(&path).await?;
        options.print(&subjects, |all| text(all))
    })
}

fn text(subjects: &[SubjectStatus]) -> String {
    let mut table = Table::new(&[
        ("SUBJECT", Side::Left),
        ("LENGTH", Side::Right),
        ("MAX", Side::Right),
        ("GROUP", Side::Left),
        ("LAG", Side::Right),
        ("PENDING", Side::Right),
        ("RETRIES", Side::Right),
        ("OLDEST", Side::Right),
        ("DEAD", Side::Right),
        ("", Side::Left),
    ]);
    for subject in subjects {
        let own = || {
            let (length, length_max) = (subject.length, subject.length_max);
            let name = subject.subject.to_string();
            [name, length.to_string(), length_max.to_string()]
        };
        if subject.groups.is_empty() {
            let [name, length, length_max] = own();
            let none = || "-".to_owned();
            let [group, lag, pending, retries, oldest, dead] = [(); 6].map(|()| none());
            let note = String::new();
            table.row([
                name, length, length_max, group, lag, pending, retries, oldest, dead, note,
            ]);
        }
        for group in &subject.groups {
            let [name, length, length_max] = own();
            let oldest = group.oldest_age_ms.map(|ms| took(ms as f64));
            let note = match group.subscription {
                Some(_) => "",
                None => "not subscribed by this host",
            };
            table.row([
                name,
                length,
                length_max,
                group.group.to_string(),
                group.lag.to_string(),
                group.pending.to_string(),
                group.waiting.to_string(),
                oldest.unwrap_or_else(|| "-".to_owned()),
                group.dead.to_string(),
                note.to_owned(),
            ]);
        }
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::streams::model::{GroupFigures, SubscriptionSettings};

    #[test]
    fn a_subject_has_a_line_for_each_group() {
        let settings = SubscriptionSettings {
            concurrency: 4,
            deliveries_max: 3,
            deadline_ms: 20_000,
            lease_ms: 30_000,
            backoff_first_ms: 50,
            backoff_max_ms: 1000,
        };
        let group = |group: &str, oldest_age_ms, subscription| GroupFigures {
            group: group.parse().expect("a name"),
            lag: 12,
            pending: 3,
            waiting: 1,
            oldest_age_ms,
            dead: 2,
            subscription,
        };
        let status = |subject: &str, groups| SubjectStatus {
            subject: subject.parse().expect("a subject"),
            length: 15,
            length_max: 100_000,
            groups,
        };
        let groups = vec![
            group("converter", Some(61_000), Some(settings)),
            group("gone", None, None),
        ];
        let all = [
            status("media.uploaded", groups),
            status("unheard", Vec::new()),
        ];
        let expected = "\
SUBJECT         LENGTH     MAX  GROUP      LAG  PENDING  RETRIES     OLDEST  DEAD
media.uploaded      15  100000  converter   12        3        1  1 min 1 s     2
media.uploaded      15  100000  gone        12        3        1          -     2  not subscribed by this host
unheard             15  100000  -            -        -        -          -     -
";
        assert_eq!(text(&all), expected);
    }
}
