//! Names of pods, of which a large cluster has very many.

use std::{fmt, sync::Arc};

/// The longest ending that stands in the name itself: `-` and what a ReplicaSet appends has 6 bytes.
const LONGEST: usize = 7;

/// The name of a pod. What comes before its last `-` is that of many others, which
/// [`PodName::stem`] lets share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    stem: Arc<str>,
    ending: [u8; LONGEST],
    /// How many bytes of `ending` are used.
    len: u8,
}

impl PodName {
    /// What several pods may have in common.
    pub const fn stem(&mut self) -> &mut Arc<str> {
        &mut self.stem
    }

    /// True if the name begins so.
    pub fn starts_with(&self, prefix: &str) -> bool {
        match prefix.as_bytes().strip_prefix(self.stem.as_bytes()) {
            Some(rest) => self.ending[..self.len.into()].starts_with(rest),
            None => self.stem.starts_with(prefix),
        }
    }
}

impl From<&str> for PodName {
    fn from(name: &str) -> Self {
        let at = name.rfind('-').filter(|at| name.len() - at <= LONGEST).unwrap_or(name.len());
        let (stem, rest) = name.split_at(at);
        let mut ending = [0; LONGEST];
        ending[..rest.len()].copy_from_slice(rest.as_bytes());
        Self { stem: stem.into(), ending, len: rest.len() as u8 }
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = String::from_utf8_lossy(&self.ending[..self.len.into()]);
        write!(f, "{}{ending}", self.stem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_with_each_of_its_beginnings_and_with_nothing_else() {
        for name in
            ["web-7d9f8b6c5-x2x8k", "web-0", "web-", "-", "web", "", "a-far-too-long-ending"]
        {
            let pod = PodName::from(name);
            assert_eq!(pod.to_string(), name);
            for end in 0..=name.len() {
                assert!(pod.starts_with(&name[..end]), "{name} {end}");
                for other in ["x", "-", "\0"].map(|more| format!("{}{more}", &name[..end])) {
                    assert_eq!(pod.starts_with(&other), name.starts_with(&other), "{name} {other}");
                }
            }
        }
    }

    #[test]
    fn pods_of_one_set_have_a_stem_in_common() {
        let [mut one, mut other] =
            ["web-7d9f8b6c5-x2x8k", "web-7d9f8b6c5-q9z4m"].map(PodName::from);
        assert_eq!(&**one.stem(), "web-7d9f8b6c5");
        assert_eq!(one.stem(), other.stem());
    }
}
