//! Text of a file to decoded objects. A document that is word for word as it was is not parsed
//! again: most changes to a large file touch one of its objects.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use super::{
    decode::{Decoded, decode},
    document::split,
    object::Position,
    parse::{self, Piece},
};

/// Broken documents of one file whose errors are told one by one; a flood helps nobody.
const MAX_TOLD: usize = 16;

/// Number of the item where the document is a List, and what it is.
type Items = Arc<[(Option<usize>, Decoded)]>;

/// The documents of a file as they were last decoded, by hash of their text.
#[derive(Debug, Default)]
pub struct Decodings(HashMap<u64, Items>);

/// The objects of a YAML file.
pub fn yaml(text: &str, memory: &mut Decodings) -> Vec<(Position, Decoded)> {
    let mut objects = Vec::new();
    let mut now = HashMap::new();
    let mut broken = Vec::new();
    for document in split(text) {
        let mut hasher = DefaultHasher::new();
        document.text.hash(&mut hasher);
        let hash = hasher.finish();
        let items = match memory.0.get(&hash) {
            Some(items) => Arc::clone(items),
            None => match parse::yaml(document.text) {
                Ok((pieces, odd)) => {
                    let odd = odd.map(|fault| (None, Decoded::Told(fault)));
                    decode_all(pieces).chain(odd).collect()
                }
                Err(error) => {
                    broken.push(document.number);
                    if broken.len() <= MAX_TOLD {
                        let fault = parse::explain(&document, error);
                        push(document.number, &[(None, Decoded::Nameless(fault))], &mut objects);
                    }
                    continue;
                }
            },
        };
        push(document.number, &items, &mut objects);
        now.insert(hash, items);
    }
    if let Some(first) = broken.get(MAX_TOLD) {
        let fault = parse::flood(broken.len() - MAX_TOLD);
        push(*first, &[(None, Decoded::Nameless(fault))], &mut objects);
    }
    memory.0 = now;
    objects
}

/// The objects of a JSON file.
pub fn json(text: &str) -> Vec<(Position, Decoded)> {
    let mut objects = Vec::new();
    for (index, value) in parse::json(text).into_iter().enumerate() {
        let items: Items = match value {
            Ok(pieces) => decode_all(pieces).collect(),
            Err(fault) => Arc::new([(None, Decoded::Nameless(fault))]),
        };
        push(index + 1, &items, &mut objects);
    }
    objects
}

fn decode_all(pieces: Vec<Piece>) -> impl Iterator<Item = (Option<usize>, Decoded)> {
    let decode = |value: Result<_, _>| value.map_or_else(Decoded::Nameless, decode);
    pieces.into_iter().map(move |(item, value)| (item, decode(value)))
}

fn push(document: usize, items: &[(Option<usize>, Decoded)], to: &mut Vec<(Position, Decoded)>) {
    let placed =
        |(item, decoded): &(_, Decoded)| (Position { document, item: *item }, decoded.clone());
    to.extend(items.iter().map(placed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_did_not_change_gives_the_same_at_its_new_place() {
        let service =
            |name: &str| format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n");
        let mut memory = Decodings::default();
        let before = yaml(&format!("---\n{}---\n{}", service("a"), service("b")), &mut memory);
        let after = yaml(&format!("---\n{}---\n{}", service("c"), service("b")), &mut memory);
        assert_eq!(before[1], after[1]);
        assert_ne!(before[0], after[0]);
        let moved = yaml(&format!("---\n{}", service("b")), &mut memory);
        assert_eq!(moved, [(Position { document: 1, item: None }, before[1].1.clone())]);
        assert_eq!(memory.0.len(), 1, "what is gone is forgotten");
    }

    #[test]
    fn a_flood_of_broken_documents_is_told_in_short() {
        let objects = yaml(&"--- [\n".repeat(100), &mut Decodings::default());
        assert_eq!(objects.len(), MAX_TOLD + 1, "{objects:?}");
        let (place, last) = objects.last().expect("not empty");
        assert_eq!(place.document, MAX_TOLD + 1);
        let Decoded::Nameless(fault) = last else { panic!("{last:?} names an object") };
        assert!(fault.message.starts_with("84 documents from here on"), "{fault:?}");
    }
}
