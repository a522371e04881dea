//! What a delta says: a text, or, of Mistral's models that think, a list of thoughts and texts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::model::http::Text;

/// What a delta says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content<'a> {
    /// To the user; taken from the chunk without a copy where it is a text without escapes.
    pub(super) said: Cow<'a, str>,
    /// To itself.
    pub(super) thought: String,
}

/// One of a list.
#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Box<Content<'a>>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text or a list of texts and thoughts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Content { said: Cow::Borrowed(text), thought: String::new() })
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Content { said: Cow::Owned(text.to_owned()), thought: String::new() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pieces: A) -> Result<Self::Value, A::Error> {
        let (mut said, mut thought) = (String::new(), String::new());
        while let Some(piece) = pieces.next_element::<Piece<'de>>()? {
            if let Some(thinking) = piece.thinking {
                thought.push_str(&thinking.said);
            }
            said.push_str(Text::filled(piece.text.as_ref()).unwrap_or_default());
        }
        Ok(Content { said: Cow::Owned(said), thought })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Content<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_text_is_not_copied_unless_it_has_escapes() {
        assert!(matches!(read(r#""plain""#).said, Cow::Borrowed("plain")));
        assert_eq!(read(r#""a\nb""#).said, "a\nb");
    }

    #[test]
    fn a_list_holds_thoughts_and_texts() {
        let thinks = r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"},{"type":"text","text":"m"}]},
            {"type":"text","text":"So: "},{"type":"reference","reference_ids":[1]},{"type":"text","text":"yes"}]"#;
        assert_eq!(read(thinks), Content { said: "So: yes".into(), thought: "hmm".into() });
        assert_eq!(read(r#"[{"type":"thinking","thinking":"hm"}]"#).thought, "hm");
        assert_eq!(read("[]"), Content::default());
    }

    #[test]
    fn anything_else_is_no_content() {
        assert!(serde_json::from_str::<Content<'_>>("7").is_err());
    }
}
