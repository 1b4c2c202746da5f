//! `wharf ps`: what serves.

use clap::Args;

use super::operator::{self, Client, Options, Side, Table, number, share, took};
use crate::rollout::model::{ComponentStatus, Role};

/// Lists what serves and what drains, with what it works on; rates are those of the last ten seconds.
#[derive(Args)]
pub struct Ps {
    #[command(flatten)]
    options: Options,
}

impl Ps {
    /// Lists.
    ///
    /// # Errors
    ///
    /// The host cannot be asked.
    pub fn run(self) -> anyhow::Result<()> {
        operator::run(async {
            let components: Vec<ComponentStatus> =
                Client::of(&self.options)?.get("/v1/components").await?;
            self.options.print(&components, |all| text(all))
        })
    }
}

fn text(components: &[ComponentStatus]) -> String {
    let mut table = Table::new(&[
        ("COMPONENT", Side::Left),
        ("REVISION", Side::Right),
        ("ROLE", Side::Left),
        ("SHARE", Side::Right),
        ("REQUESTS", Side::Right),
        ("DELIVERIES", Side::Right),
        ("PER SECOND", Side::Right),
        ("ERRORS", Side::Right),
        ("P99", Side::Right),
        ("DIGEST", Side::Left),
        ("ROLLOUT", Side::Right),
    ]);
    for component in components {
        let rollout = component.rollout.map(|id| id.to_string());
        let rollout = rollout.unwrap_or_default();
        let name = component.component.to_string();
        if component.revisions.is_empty() {
            let none = || "-".to_owned();
            let mut row = [(); 11].map(|()| none());
            row[0] = name.clone();
            row[10] = rollout.clone();
            table.row(row);
        }
        for revision in &component.revisions {
            table.row([
                name.clone(),
                revision.revision.to_string(),
                role(revision.role).to_owned(),
                share(revision.share),
                revision.requests.to_string(),
                revision.deliveries.to_string(),
                format!("{:.1}", revision.rate),
                share(revision.error_ratio * 100.0),
                number(revision.p99_ms.map(took)),
                revision.digest.short(),
                rollout.clone(),
            ]);
        }
    }
    table.text()
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Active => "active",
        Role::Candidate => "candidate",
        Role::Draining => "draining",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Digest, RevisionId, RolloutId};
    use crate::rollout::model::RevisionStatus;

    #[test]
    fn a_component_has_a_line_for_each_revision_that_lives() {
        let revision = |revision, role, share, p99_ms| RevisionStatus {
            revision: RevisionId(revision),
            digest: Digest::of(b"hello"),
            role,
            share,
            requests: 2,
            deliveries: 0,
            rate: 12.34,
            error_ratio: 0.005,
            p99_ms,
        };
        let status = |name: &str, revisions, rollout| ComponentStatus {
            component: name.parse().expect("a name"),
            revisions,
            rollout,
        };
        let busy = vec![
            revision(3, Role::Active, 90.0, Some(1.2)),
            revision(12, Role::Candidate, 10.0, None),
        ];
        let all = [
            status("hello", busy, Some(RolloutId(7))),
            status("idle", Vec::new(), None),
        ];
        let expected = "\
COMPONENT  REVISION  ROLE       SHARE  REQUESTS  DELIVERIES  PER SECOND  ERRORS   P99  DIGEST        ROLLOUT
hello             3  active      90 %         2           0        12.3   0.5 %  1 ms  2cf24dba5fb0        7
hello            12  candidate   10 %         2           0        12.3   0.5 %     -  2cf24dba5fb0        7
idle              -  -              -         -           -           -       -     -  -
";
        assert_eq!(text(&all), expected);
    }
}
