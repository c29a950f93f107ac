//! Fields in the text of a line: of a JSON object, or of logfmt (`key=value key="a value"`). No I/O.

use crate::pattern::Pattern;
use memchr::memmem;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// A field that a line must have.
#[derive(Debug, Clone)]
pub struct Field {
    key: String,
    value: String,
    block: Pattern,
}

impl Field {
    /// Parses `KEY=VALUE`. None: there is no key.
    pub fn parse(text: &str) -> Option<Field> {
        let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty())?;
        // In JSON each character may be written by its number, and some are always written with a backslash.
        let is_special = |character: char| matches!(character, '"' | '\\' | '/' | '\0'..='\x1f');
        let other = if value.contains(is_special) { r"\\" } else { r"\\u" };
        let literal = if value.is_empty() { key.rsplit('.').next().unwrap_or_default() } else { value };
        let block = Pattern::new(&format!("{}|{other}", regex::escape(literal))).ok()?;
        Some(Field { key: key.into(), value: value.into(), block })
    }

    /// What blocks of lines are searched for: a line without it does not have the field.
    pub fn for_blocks(&self) -> &Pattern {
        &self.block
    }

    /// Whether a line with this text has the field with this value.
    pub fn is_in(&self, text: &[u8]) -> bool {
        match object(text) {
            Some(object) => member(&object, &self.key).is_some_and(|member| self.is_value(member, text)),
            None => logfmt(text).any(|(key, value)| key == self.key.as_bytes() && *value == *self.value.as_bytes()),
        }
    }

    fn is_value(&self, member: &Value, text: &[u8]) -> bool {
        match member {
            Value::String(string) => *string == self.value,
            // 1e3 and 1000 are not the same text.
            Value::Number(number) => {
                number.to_string() == self.value && memmem::find(text, self.value.as_bytes()).is_some()
            }
            Value::Bool(true) => self.value == "true",
            Value::Bool(false) => self.value == "false",
            Value::Null => self.value == "null",
            Value::Array(_) | Value::Object(_) => false,
        }
    }
}

/// The object that is the whole text.
pub fn object(text: &[u8]) -> Option<Map<String, Value>> {
    let is_one = text.trim_ascii_start().first() == Some(&b'{');
    if is_one { serde_json::from_slice(text).ok() } else { None }
}

/// The member of this name; without one, the member of a member, if the name has points.
fn member<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).or_else(|| {
        let (outer, inner) = key.split_once('.')?;
        member(object.get(outer)?.as_object()?, inner)
    })
}

/// The fields of a line in logfmt, each with its key. Words without `=` are passed over.
pub fn logfmt(text: &[u8]) -> impl Iterator<Item = (&[u8], Cow<'_, [u8]>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'=')?;
            let (key, behind) = rest.split_at(end);
            match behind.strip_prefix(b"=") {
                None => rest = behind,
                Some(behind) => {
                    let (value, behind) = value(behind);
                    rest = behind;
                    return Some((key, value));
                }
            }
        }
    })
}

/// The value at the beginning, and what comes behind it.
fn value(text: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    if let Some(quoted) = text.strip_prefix(b"\"") {
        let mut is_escaped = false;
        let end = quoted.iter().position(|byte| {
            let is_end = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            is_end
        });
        if let Some(end) = end {
            let (inside, behind) = (&quoted[..end], &quoted[end + 1..]);
            let unescaped = || serde_json::from_slice::<String>(&text[..end + 2]).ok().map(String::into_bytes);
            let value = if inside.contains(&b'\\') { unescaped() } else { None };
            return (value.map_or(Cow::Borrowed(inside), Cow::Owned), behind);
        }
    }
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    (Cow::Borrowed(&text[..end]), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_field_is_found_in_json_and_in_logfmt() {
        for (field, text, expected) in [
            ("status=500", r#"{"status":500}"#, true),
            ("status=500", r#"{"status":"500","a":1}"#, true),
            ("status=500", r#"{"status":5000}"#, false),
            ("status=500", r#"{"other":500}"#, false),
            ("status=500", r#"{"a":{"status":500}}"#, false),
            ("a.status=500", r#" {"a":{"status":500}}"#, true),
            ("a.status=500", r#"{"a.status":500}"#, true),
            ("a.b.c=x", r#"{"a":{"b":{"c":"x"}}}"#, true),
            ("a.b=x", r#"{"a":["b","x"]}"#, false),
            ("ok=true", r#"{"ok":true}"#, true),
            ("ok=null", r#"{"ok":null}"#, true),
            ("ok=", r#"{"ok":""}"#, true),
            ("ok=", r#"{"ok":null}"#, false),
            ("n=1000.0", r#"{"n":1e3}"#, false),
            ("path=/a \"b\"", r#"{"path":"\/a \"b\""}"#, true),
            ("user=\u{e9}", r#"{"\u0075ser":"\u00e9"}"#, true),
            ("user=\u{e9}", "{\"user\":\"\u{e9}\"}", true),
            // A line that only begins as JSON is logfmt, if anything.
            ("a=1", r#"{"a":1"#, false),
            ("a=1", "{ a=1", true),
            ("status=500", "method=GET status=500 path=/", true),
            ("status=500", "status=500", true),
            ("status=500", "status=5000 xstatus=500", false),
            ("msg=a b", r#"level=info msg="a b" x=1"#, true),
            ("msg=a \"b\"", r#"msg="a \"b\"" x=1"#, true),
            ("x=1", r#"msg="a \\" x=1"#, true),
            ("x=1", r#"msg="x=1 y""#, false),
            ("msg=\"a", r#"msg="a b"#, true),
            ("k=a=b", "k=a=b", true),
            ("k=", "k= x", true),
            ("k=x", "words k =x k", false),
        ] {
            let field = Field::parse(field).unwrap();
            assert_eq!(field.is_in(text.as_bytes()), expected, "{field:?} {text}");
            let found = field.for_blocks().find(text.as_bytes()).is_some();
            assert!(found || !expected, "{field:?} is passed over in {text}");
        }
        for text in ["", "a", "=b"] {
            assert!(Field::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn no_block_is_passed_over_that_has_the_field(
            (key, value) in ("[a.]{1,3}", r#"[a1/"\\\u{e9} .=]{0,4}"#),
            text in r#"[a1"\\ =.{}:\u{e9}]{0,12}|\{"a{1,2}": ?("[a1/\u{e9}]{0,3}"|"\\u0061"|[0-9a.]{1,4}|true)\}|a{1,2}="?[a1\\"]{0,4}"?"#,
        ) {
            let Some(field) = Field::parse(&format!("{key}={value}")) else { return Ok(()) };
            let is_found = field.for_blocks().find(text.as_bytes()).is_some();
            prop_assert!(is_found || !field.is_in(text.as_bytes()));
        }
    }
}
