//! What a tool's content is to a model: unwrapped as far as it can be (`usage-tools.md` §7.5).

use rmcp::model::ContentBlock;
use serde_json::{Value, json};

/// Texts as the JSON that they are, if they are; images with their type; resources without their
/// wrapping. One item stands for itself, none is null.
pub(super) fn unwrapped(content: &[ContentBlock]) -> Value {
    let mut items: Vec<Value> = content.iter().map(item).collect();
    match items.len() {
        0 => Value::Null,
        1 => items.remove(0),
        _ => Value::Array(items),
    }
}

fn item(block: &ContentBlock) -> Value {
    match block {
        ContentBlock::Text(text) => serde_json::from_str(&text.text).unwrap_or_else(|_| text.text.clone().into()),
        ContentBlock::Image(image) => json!({"type": "image", "data": image.data, "mimeType": image.mime_type}),
        ContentBlock::Audio(audio) => json!({"type": "audio", "data": audio.data, "mimeType": audio.mime_type}),
        ContentBlock::Resource(resource) => json!(resource.resource),
        other => json!(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_unwrapped() {
        let content = |value: Value| unwrapped(&serde_json::from_value::<Vec<ContentBlock>>(value).unwrap());
        assert_eq!(content(json!([])), Value::Null);
        assert_eq!(content(json!([{"type": "text", "text": "{\"a\": [1]}"}])), json!({"a": [1]}));
        assert_eq!(content(json!([{"type": "text", "text": "plain {"}])), "plain {");
        assert_eq!(content(json!([{"type": "text", "text": "a"}, {"type": "text", "text": "2"}])), json!(["a", 2]));
        assert_eq!(
            content(json!([{"type": "image", "data": "QQ==", "mimeType": "image/png"}])),
            json!({"type": "image", "data": "QQ==", "mimeType": "image/png"})
        );
        let resource = json!({"uri": "file:///a", "mimeType": "text/plain", "text": "x"});
        assert_eq!(content(json!([{"type": "resource", "resource": resource}])), resource);
    }
}
