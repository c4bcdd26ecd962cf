//! The query string of a request.

use super::status::Refusal;

/// Parameters in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses what follows the question mark.
    pub fn parse(text: &str) -> Self {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        };
        Self(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is set to what counts as true.
    pub fn is(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    /// The value of a numeric parameter; none where it is empty.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Refusal::bad_request(format!("{name}: {text:?} is no number"))),
            },
        }
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        (rest, _) = match (first, tail) {
            (b'%', [a, b, after @ ..]) if code(&[*a, *b]).is_some() => {
                (after, bytes.push(code(&[*a, *b]).unwrap_or_default()))
            }
            (b'+', _) => (tail, bytes.push(b' ')),
            _ => (tail, bytes.push(*first)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("watch=1&labelSelector=%21a%2Fb%2C%21c&x=a+b%2&limit=500&empty=");
        assert!(query.is("watch") && !query.is("limit") && !query.is("missing"));
        assert_eq!(query.get("labelSelector"), Some("!a/b,!c"));
        assert_eq!(query.get("x"), Some("a b%2"));
        assert_eq!(query.number("limit"), Ok(Some(500)));
        assert_eq!(query.number("empty"), Ok(None));
        assert_eq!(query.number("x").map_err(|e| e.code), Err(400));
    }
}
