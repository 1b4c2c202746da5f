//! Path patterns as a tree of segments, searched from the most specific branch on.

use std::collections::{BTreeSet, HashMap};

use super::path::{Rest, decoded, first_segment};
use crate::manifest::model::{PathPattern, PathSegment};

/// A route that ends somewhere in a tree.
#[derive(Debug)]
pub(super) struct Target {
    index: usize,
    /// Any where empty.
    methods: Vec<String>,
}

impl Target {
    /// The route `index`, which serves `methods`, or any where there are none.
    pub fn new(index: usize, methods: &BTreeSet<String>) -> Self {
        Self {
            index,
            methods: methods.iter().cloned().collect(),
        }
    }

    fn serves(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|served| served == method)
    }
}

/// The patterns that begin with the same segments, by how they go on.
#[derive(Debug, Default)]
pub(super) struct Tree {
    literals: HashMap<String, Tree>,
    parameter: Option<Box<Tree>>,
    /// Routes whose pattern ends here, those that name their methods first.
    ends: Vec<Target>,
    /// Routes whose pattern goes on with everything below, those that name their methods first.
    wildcards: Vec<Target>,
}

impl Tree {
    /// Adds a route. Routes of one pattern are added in the manifest's order.
    pub fn insert(&mut self, pattern: &PathPattern, target: Target) {
        let mut tree = self;
        for segment in &pattern.segments {
            tree = match segment {
                PathSegment::Literal(text) => tree.literals.entry(text.clone()).or_default(),
                PathSegment::Parameter(_) => tree.parameter.get_or_insert_default(),
            };
        }
        let targets = if pattern.wildcard {
            &mut tree.wildcards
        } else {
            &mut tree.ends
        };
        targets.push(target);
        targets.sort_by_key(|target| (target.methods.is_empty(), target.index));
    }

    /// The index of the most specific route for `method` and `path`.
    pub fn find(&self, method: &str, path: &str) -> Option<usize> {
        self.visit(first_segment(path)?, &mut |targets| {
            let target = targets.iter().find(|target| target.serves(method))?;
            Some(target.index)
        })
    }

    /// Appends the methods of every route that matches `path` and names its methods.
    pub fn allowed(&self, path: &str, allow: &mut Vec<String>) {
        let Some(rest) = first_segment(path) else {
            return;
        };
        let gathered: Option<()> = self.visit(rest, &mut |targets| {
            allow.extend(
                targets
                    .iter()
                    .flat_map(|target| target.methods.iter().cloned()),
            );
            None
        });
        debug_assert!(gathered.is_none(), "gathering never ends early");
    }

    /// Shows `choose` the routes that match, from the most specific pattern on, until it chooses
    /// one. The depth is that of the deepest pattern, however long the path is, and no node is
    /// visited twice.
    fn visit<T>(
        &self,
        rest: Rest<'_>,
        choose: &mut impl FnMut(&[Target]) -> Option<T>,
    ) -> Option<T> {
        let Some((segment, after)) = rest.split() else {
            return choose(&self.ends).or_else(|| choose(&self.wildcards));
        };
        self.literal(segment)
            .and_then(|tree| tree.visit(after, choose))
            .or_else(|| {
                let parameter = self.parameter.as_ref().filter(|_| !segment.is_empty())?;
                parameter.visit(after, choose)
            })
            .or_else(|| choose(&self.wildcards))
    }

    fn literal(&self, segment: &str) -> Option<&Tree> {
        if self.literals.is_empty() {
            return None;
        }
        self.literals.get(decoded(segment)?.as_ref())
    }
}
