//! The names of a fleet's topics: `ROOT/FLEET/d/{all|grp/G|node/N}/SLOT` down, `ROOT/FLEET/u/NODE/LEAF` up.

use crate::model::{Scope, SetKey};

/// A slot's name, and a group's and a node's, has so many characters at most.
pub const WORD_MAX: usize = 63;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    root: String,
    fleet: String,
    node: String,
}

/// What a topic is to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Set(SetKey),
    /// A set's topic, but its last level is no name of a slot. The slot is cut to `WORD_MAX` characters.
    BadSlot(SetKey),
    /// Reserved for the protocol (`_trust`, `_index`), or nothing that was subscribed.
    Other,
}

impl Topics {
    pub fn new(root: &str, fleet: &str, node: &str) -> Topics {
        Topics { root: root.into(), fleet: fleet.into(), node: node.into() }
    }

    /// What a node subscribes.
    pub fn filters(&self, groups: &[String]) -> Vec<String> {
        let down = |path: String| format!("{}/{}/d/{path}/+", self.root, self.fleet);
        let mut filters = vec![down("all".into())];
        filters.extend(groups.iter().map(|group| down(format!("grp/{group}"))));
        filters.push(down(format!("node/{}", self.node)));
        filters
    }

    /// `leaf` is `live`, `node`, `state` or `ack`.
    pub fn up(&self, leaf: &str) -> String {
        format!("{}/{}/u/{}/{leaf}", self.root, self.fleet, self.node)
    }

    /// The topic of a set, as a sender writes it.
    pub fn down(&self, set: &SetKey) -> String {
        format!("{}/{}/d/{}/{}", self.root, self.fleet, self.address(&set.scope), set.slot)
    }

    /// The `to` of a header: `all`, `grp/G`, `node/N`.
    pub fn address(&self, scope: &Scope) -> String {
        match scope {
            Scope::All => "all".into(),
            Scope::Group(group) => format!("grp/{group}"),
            Scope::Node => format!("node/{}", self.node),
        }
    }

    pub fn place(&self, topic: &str) -> Place {
        let Some((scope, slot)) = self.split(topic) else { return Place::Other };
        if slot.starts_with('_') {
            return Place::Other;
        }
        if is_word(slot) {
            Place::Set(SetKey { scope, slot: slot.into() })
        } else {
            Place::BadSlot(SetKey { scope, slot: slot.chars().take(WORD_MAX).collect() })
        }
    }

    fn split<'t>(&self, topic: &'t str) -> Option<(Scope, &'t str)> {
        let down = topic.strip_prefix(&self.root)?.strip_prefix('/')?.strip_prefix(&self.fleet)?.strip_prefix("/d/")?;
        let levels: Vec<&str> = down.split('/').collect();
        match levels[..] {
            ["all", slot] => Some((Scope::All, slot)),
            ["grp", group, slot] => Some((Scope::Group(group.into()), slot)),
            ["node", node, slot] if node == self.node => Some((Scope::Node, slot)),
            _ => None,
        }
    }
}

/// `[a-z0-9.-]{1,63}`.
fn is_word(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    (1..=WORD_MAX).contains(&text.len()) && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics::new("pn", "demo", "gw")
    }

    #[track_caller]
    fn check(topic: &str, expected: Place) {
        assert_eq!(topics().place(topic), expected, "{topic}");
    }

    fn set(scope: Scope, slot: &str) -> SetKey {
        SetKey { scope, slot: slot.into() }
    }

    #[test]
    fn a_topic_says_whom_and_what() {
        check("pn/demo/d/all/shop", Place::Set(set(Scope::All, "shop")));
        check("pn/demo/d/grp/pos/shop.canary", Place::Set(set(Scope::Group("pos".into()), "shop.canary")));
        check("pn/demo/d/node/gw/a-1", Place::Set(set(Scope::Node, "a-1")));
        check("pn/demo/d/node/other/a", Place::Other);
        check("pn/demo/d/all/_trust", Place::Other);
        check("pn/demo/d/all", Place::Other);
        check("pn/demo/d/all/a/b", Place::Other);
        check("pn/other/d/all/a", Place::Other);
        check("pn/demox/d/all/a", Place::Other);
        check("", Place::Other);
        check("pn/demo/d/all/", Place::BadSlot(set(Scope::All, "")));
        check("pn/demo/d/all/Shop", Place::BadSlot(set(Scope::All, "Shop")));
        check("pn/demo/d/all/a b", Place::BadSlot(set(Scope::All, "a b")));
        check(&format!("pn/demo/d/all/{}", "ü".repeat(99)), Place::BadSlot(set(Scope::All, &"ü".repeat(63))));
    }

    #[test]
    fn a_sets_topic_is_read_as_it_is_written() {
        for scope in [Scope::All, Scope::Group("g".into()), Scope::Node] {
            let key = set(scope, "s");
            check(&topics().down(&key), Place::Set(key));
        }
        let filters = topics().filters(&["g".into()]);
        assert_eq!(filters, ["pn/demo/d/all/+", "pn/demo/d/grp/g/+", "pn/demo/d/node/gw/+"]);
        assert_eq!(topics().up("live"), "pn/demo/u/gw/live");
    }
}
