//! The table of routes: the most specific pattern for an address, however many there are.
//!
//! Patterns of one host are together, in the order of their paths. A path that ends with a wildcard knows the longest other one
//! that it begins with. The last one that is not behind the path that is looked for is then the longest one that it begins
//! with, or leads there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use super::{HostKind, RoutePattern};

/// Patterns, and what each leads to. A change makes another table, which shares the hosts that did not change.
#[derive(Clone, Debug)]
pub struct RouteTable<T> {
    exact: Hosts<T>,
    /// Those that begin with a wildcard, by the host without it.
    wild: Hosts<T>,
}

type Hosts<T> = HashMap<Arc<str>, Arc<HostRoutes<T>>>;

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wild: HashMap::new() }
    }
}

impl<T: Clone + Ord> RouteTable<T> {
    /// A table of patterns. Of two that mean the same, the one with the lesser target wins.
    pub fn new(routes: impl IntoIterator<Item = (RoutePattern, T)>) -> Self {
        Self::default().changed([], routes)
    }

    /// This table without some routes and with others. Costs as much as the hosts that they are of.
    #[must_use]
    pub fn changed(
        &self,
        removed: impl IntoIterator<Item = (RoutePattern, T)>,
        added: impl IntoIterator<Item = (RoutePattern, T)>,
    ) -> Self {
        let mut table = self.clone();
        let mut hosts: HashMap<(bool, String), Vec<(RoutePattern, T)>> = HashMap::new();
        for (pattern, target) in removed {
            let routes = table.routes_of(&mut hosts, &pattern);
            if let Some(place) = routes.iter().position(|(other, to)| *other == pattern && *to == target) {
                routes.swap_remove(place);
            }
        }
        for (pattern, target) in added {
            table.routes_of(&mut hosts, &pattern).push((pattern, target));
        }
        for ((is_wild, host), routes) in hosts {
            let side = if is_wild { &mut table.wild } else { &mut table.exact };
            if routes.is_empty() {
                side.remove(&*host);
            } else {
                side.insert(host.into(), Arc::new(HostRoutes::new(routes)));
            }
        }
        table
    }

    /// The routes of a pattern's host, taken out to be changed.
    fn routes_of<'h>(
        &self,
        hosts: &'h mut HashMap<(bool, String), Vec<(RoutePattern, T)>>,
        pattern: &RoutePattern,
    ) -> &'h mut Vec<(RoutePattern, T)> {
        let is_wild = pattern.host_kind != HostKind::Exact;
        match hosts.entry((is_wild, pattern.host.clone())) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let side = if is_wild { &self.wild } else { &self.exact };
                entry.insert(side.get(pattern.host.as_str()).map_or_else(Vec::new, |host| host.routes.clone()))
            }
        }
    }
}

impl<T> RouteTable<T> {
    /// What the most specific pattern leads to that matches: the more specific host first, then an exact path, then the longest
    /// open one, then one with a scheme. The host is in lower case.
    pub fn find(&self, secure: bool, host: &str, path: &str) -> Option<&T> {
        if let Some(found) = self.exact.get(host).and_then(|routes| routes.find(secure, path, false)) {
            return Some(found);
        }
        if self.wild.is_empty() {
            return None;
        }
        if let Some(found) = self.wild.get(host).and_then(|routes| routes.find(secure, path, true)) {
            return Some(found);
        }
        let mut rest = host;
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(found) = self.wild.get(above).and_then(|routes| routes.find(secure, path, false)) {
                return Some(found);
            }
            rest = above;
        }
        None
    }

    /// Whether a pattern matches this host with some path. The host is in lower case.
    pub fn knows(&self, host: &str) -> bool {
        let at = |routes: &Arc<HostRoutes<T>>| {
            routes.routes.iter().any(|(pattern, _)| pattern.host_kind == HostKind::AtOrBelow)
        };
        let mut above = host.split_once('.').map(|(_, above)| above);
        self.exact.contains_key(host)
            || self.wild.get(host).is_some_and(at)
            || std::iter::from_fn(|| {
                let name = above?;
                above = name.split_once('.').map(|(_, above)| above);
                Some(name)
            })
            .any(|name| self.wild.contains_key(name))
    }
}

/// The routes of one host name.
#[derive(Debug)]
struct HostRoutes<T> {
    /// Those with an exact path first, each kind in the order of their paths, those of one path with the more specific first.
    routes: Vec<(RoutePattern, T)>,
    /// How many have an exact path.
    closed: usize,
    /// The open paths.
    prefixes: Vec<Prefix>,
}

/// An open path.
#[derive(Debug)]
struct Prefix {
    /// Its routes.
    routes: Range<usize>,
    /// The longest other one that it begins with.
    above: Option<usize>,
}

impl<T: Ord> HostRoutes<T> {
    fn new(mut routes: Vec<(RoutePattern, T)>) -> Self {
        routes.sort_by(|(one, to), (other, other_to)| {
            let key = |pattern: &RoutePattern| (pattern.secure.is_none(), pattern.host_kind == HostKind::AtOrBelow);
            (one.open, &one.path, key(one), to).cmp(&(other.open, &other.path, key(other), other_to))
        });
        let closed = routes.partition_point(|(pattern, _)| !pattern.open);
        let mut prefixes: Vec<Prefix> = Vec::new();
        let mut start = closed;
        for same in routes[closed..].chunk_by(|(one, _), (other, _)| one.path == other.path) {
            let path = same[0].0.path.as_str();
            let mut above = prefixes.len().checked_sub(1);
            while let Some(place) =
                above.filter(|place| !path.starts_with(&routes[prefixes[*place].routes.start].0.path))
            {
                above = prefixes[place].above;
            }
            prefixes.push(Prefix { routes: start..start + same.len(), above });
            start += same.len();
        }
        Self { routes, closed, prefixes }
    }
}

impl<T> HostRoutes<T> {
    /// The best route for a path. With `at`, only those whose wildcard stands for nothing too.
    fn find(&self, secure: bool, path: &str, at: bool) -> Option<&T> {
        let fits = |pattern: &RoutePattern| {
            pattern.secure.is_none_or(|wanted| wanted == secure) && (!at || pattern.host_kind == HostKind::AtOrBelow)
        };
        let best = |routes: &'_ [(RoutePattern, T)]| routes.iter().position(|(pattern, _)| fits(pattern));
        let closed = &self.routes[..self.closed];
        let start = closed.partition_point(|(pattern, _)| pattern.path.as_str() < path);
        let length = closed[start..].iter().take_while(|(pattern, _)| pattern.path == path).count();
        if let Some(place) = best(&closed[start..start + length]) {
            return Some(&closed[start + place].1);
        }
        let path_of = |prefix: &Prefix| self.routes[prefix.routes.start].0.path.as_str();
        let mut next = self.prefixes.partition_point(|prefix| path_of(prefix) <= path).checked_sub(1);
        while let Some(prefix) = next.map(|place| &self.prefixes[place]) {
            if path.starts_with(path_of(prefix))
                && let Some(place) = best(&self.routes[prefix.routes.clone()])
            {
                return Some(&self.routes[prefix.routes.start + place].1);
            }
            next = prefix.above;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HostKind, RoutePattern, RouteTable};

    /// What the documentation says, without any order: <https://developers.cloudflare.com/workers/configuration/routing/routes/>
    fn naive(routes: &[(RoutePattern, usize)], secure: bool, host: &str, path: &str) -> Option<usize> {
        let matches = |pattern: &RoutePattern| {
            let below = host.strip_suffix(&pattern.host).is_some_and(|rest| rest.ends_with('.'));
            let is_host = match pattern.host_kind {
                HostKind::Exact => host == pattern.host,
                HostKind::Below => below,
                HostKind::AtOrBelow => below || host == pattern.host,
            };
            let is_path = if pattern.open { path.starts_with(&pattern.path) } else { path == pattern.path };
            is_host && is_path && pattern.secure.is_none_or(|wanted| wanted == secure)
        };
        let rank = |(pattern, target): &&(RoutePattern, usize)| {
            (
                pattern.host_kind != HostKind::Exact,
                std::cmp::Reverse(pattern.host.len()),
                pattern.open,
                std::cmp::Reverse(pattern.path.len()),
                pattern.secure.is_none(),
                pattern.host_kind == HostKind::AtOrBelow,
                *target,
            )
        };
        routes.iter().filter(|(pattern, _)| matches(pattern)).min_by_key(rank).map(|(_, target)| *target)
    }

    fn routes() -> impl Strategy<Value = Vec<(RoutePattern, usize)>> {
        let pattern = "(https?://)?(\\*\\.|\\*)?(a|b)\\.(c|b\\.c)(/[ab/]{0,4}\\*?)?";
        let pattern = pattern.prop_filter_map("a pattern", |text| RoutePattern::parse(&text).ok());
        prop::collection::vec((pattern, 0..1000_usize), 0..40)
    }

    proptest! {
        #[test]
        fn finds_what_a_walk_over_all_finds(routes in routes(), secure: bool, host in "([ab]\\.){0,2}(b\\.)?c", path in "/[ab/]{0,5}") {
            let table = RouteTable::new(routes.clone());
            let any_path = routes.iter().map(|(pattern, target)| (RoutePattern { path: "/".to_owned(), open: true, secure: None, ..pattern.clone() }, *target));
            prop_assert_eq!(table.knows(&host), naive(&any_path.collect::<Vec<_>>(), secure, &host, "/").is_some());
            prop_assert_eq!(table.find(secure, &host, &path).copied(), naive(&routes, secure, &host, &path));
        }

        #[test]
        fn a_changed_table_is_a_new_one(before in routes(), after in routes(), secure: bool, host in "([ab]\\.){1,2}c", path in "/[ab/]{0,5}") {
            let changed = RouteTable::new(before.clone()).changed(before, after.clone());
            let anew = RouteTable::new(after.clone());
            prop_assert_eq!(changed.find(secure, &host, &path), anew.find(secure, &host, &path));
            let emptied = changed.changed(after, []);
            prop_assert!(emptied.exact.is_empty() && emptied.wild.is_empty());
        }
    }
}
