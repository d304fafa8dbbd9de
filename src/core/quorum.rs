//! Quorum: whether the members of a part may act for the whole cluster (spec/api.md 6.1): a chain of rules, of which the first that knows
//! decides.

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
    /// The next rule decides.
    Tie,
}

/// One rule of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// More than half of the nodes; exactly half is a tie.
    Majority,
    /// More than half of the weight of all nodes; exactly half is a tie.
    Weight,
    /// A cluster of two nodes always, any other never.
    TwoNodes,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Majority, Self::Weight, Self::TwoNodes];

    /// As in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Majority => "majority",
            Self::Weight => "weight",
            Self::TwoNodes => "twonodes",
        }
    }

    /// The rule of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    fn judge(self, count: &Count) -> Verdict {
        let half = |part: u64, total: u64| match (2 * part).cmp(&total) {
            core::cmp::Ordering::Greater => Verdict::Yes,
            core::cmp::Ordering::Equal => Verdict::Tie,
            core::cmp::Ordering::Less => Verdict::No,
        };
        match self {
            Self::Majority => half(u64::from(count.members), u64::from(count.nodes)),
            Self::Weight => half(u64::from(count.member_weight), u64::from(count.weight)),
            Self::TwoNodes if count.nodes == 2 => Verdict::Yes,
            Self::TwoNodes => Verdict::No,
        }
    }
}

/// What the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Members now.
    pub members: u32,
    /// Normal nodes of the cluster.
    pub nodes: u32,
    /// Weights of the members together.
    pub member_weight: u32,
    /// Weights of all together.
    pub weight: u32,
}

/// The rules in the order in which they are asked; by default `majority:twonodes`, as in the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    rules: [Option<Rule>; Rule::ALL.len()],
}

impl Default for Quorum {
    fn default() -> Self {
        Self { rules: [Some(Rule::Majority), Some(Rule::TwoNodes), None] }
    }
}

impl Quorum {
    /// Names with colons between them, each at most once; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rules = [None; Rule::ALL.len()];
        for (place, name) in text.split(':').enumerate() {
            let rule = Some(Rule::of(name)?);
            if rules.contains(&rule) {
                return None;
            }
            *rules.get_mut(place)? = rule;
        }
        Some(Self { rules })
    }

    /// Whether there is quorum: all tied is none.
    pub fn has_quorum(&self, count: &Count) -> bool {
        let verdicts = self.rules.iter().flatten().map(|rule| rule.judge(count));
        verdicts.into_iter().find(|verdict| *verdict != Verdict::Tie) == Some(Verdict::Yes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(chain: &str, members: u32, nodes: u32, member_weight: u32, weight: u32) -> bool {
        Quorum::parse(chain).unwrap().has_quorum(&Count { members, nodes, member_weight, weight })
    }

    #[test]
    fn majority_wants_more_than_half_and_two_nodes_break_the_tie() {
        let usual =
            |members, nodes| Quorum::default().has_quorum(&Count { members, nodes, member_weight: 0, weight: 0 });
        assert!(usual(1, 2), "two nodes: always");
        assert!(usual(2, 2));
        assert!(!usual(1, 3));
        assert!(usual(2, 3));
        assert!(!usual(2, 4), "half of four is a tie that nobody breaks");
        assert!(usual(3, 4));
        assert!(usual(1, 1));
        assert!(!has("majority", 1, 2, 0, 0), "all tied is no quorum");
    }

    #[test]
    fn weights_count_for_nodes() {
        assert!(has("weight:twonodes", 1, 3, 300, 500));
        assert!(!has("weight:twonodes", 2, 3, 200, 500));
        assert!(!has("weight", 1, 2, 100, 200));
        assert!(has("weight:majority", 2, 3, 100, 200), "a tie of weights is broken by the number");
    }

    #[test]
    fn chain_is_read_and_nonsense_refused() {
        assert_eq!(Quorum::parse("majority:twonodes"), Some(Quorum::default()));
        for bad in ["", "quorumd", "majority:", ":majority", "majority:majority", "Majority"] {
            assert_eq!(Quorum::parse(bad), None, "{bad}");
        }
    }
}
