//! The YAML between two lines `---` at the start of a model card, as the tree that PyYAML makes of
//! it. Knows nothing of what the keys mean.
//!
//! Numbers and dates stay the text that they are: metadata have no others, and llama.cpp's converter
//! fails at most of them.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Longest front matter that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 64;

/// A value. Aliases share what they stand for, so that a few of them cannot grow without bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Null,
    /// A truth value, as it is written.
    Bool(String),
    Text(String),
    List(Vec<Rc<Node>>),
    Map(Vec<(String, Rc<Node>)>),
}

impl Node {
    /// The value under `key`, where this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Node::Map(entries) = self else { return None };
        // The last one counts, as in PyYAML.
        entries.iter().rev().find(|(k, _)| k == key).map(|(_, value)| &**value)
    }
}

/// The front matter of `card` as a map; `None` where it has none.
///
/// # Errors
/// In words, if it is not YAML, not a map, or beyond what is read.
pub fn parse(card: &str) -> Result<Option<Node>, String> {
    let Some(yaml) = front_matter(card) else { return Ok(None) };
    if yaml.len() > MAX_BYTES {
        return Err(format!("its front matter has {} bytes; read are {MAX_BYTES}", yaml.len()));
    }
    match load(&yaml)? {
        Node::Map(entries) => Ok(Some(Node::Map(entries))),
        Node::Null => Ok(None),
        _ => Err("its front matter is no list of keys and values".to_owned()),
    }
}

/// The lines between the two `---`, changed as `Metadata.load_model_card` in gguf-py changes them:
/// Norwegian is no truth value, and tabs are spaces.
fn front_matter(card: &str) -> Option<String> {
    // Where Python's `splitlines` splits.
    const BREAKS: &str = "\n\r\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}";
    let card = card.replace("\r\n", "\n");
    let mut lines = card.split(|c| BREAKS.contains(c));
    if lines.next() != Some("---") {
        return None;
    }
    let mut yaml = String::new();
    for line in lines.take_while(|line| *line != "---") {
        yaml.push_str(line);
        yaml.push('\n');
    }
    Some(yaml.replace("- no\n", "- \"no\"\n").replace('\t', "  "))
}

/// A collection that is not closed yet.
enum Open {
    List(Vec<Rc<Node>>),
    /// With the key whose value comes next.
    Map(Vec<(String, Rc<Node>)>, Option<String>),
}

/// The first document of `yaml`.
fn load(yaml: &str) -> Result<Node, String> {
    let mut open: Vec<(Open, usize)> = Vec::new();
    let mut anchors: HashMap<usize, Rc<Node>> = HashMap::new();
    for event in Parser::new_from_str(yaml) {
        let (event, at) = event.map_err(|e| format!("its front matter is not YAML: {e}"))?;
        let (node, anchor) = match event {
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() == MAX_DEPTH => {
                // The line `---` before it counts.
                let line = at.start.line() + 1;
                return Err(format!("line {line} is nested deeper than {MAX_DEPTH} levels"));
            }
            Event::SequenceStart(anchor, _) => {
                open.push((Open::List(Vec::new()), anchor));
                continue;
            }
            Event::MappingStart(anchor, _) => {
                open.push((Open::Map(Vec::new(), None), anchor));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some((Open::List(items), anchor)) => (Rc::new(Node::List(items)), anchor),
                Some((Open::Map(entries, _), anchor)) => (Rc::new(Node::Map(entries)), anchor),
                None => continue,
            },
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                (Rc::new(if plain { resolve(&text) } else { Node::Text(text.into()) }), anchor)
            }
            // One that stands within what it stands for has no value yet.
            Event::Alias(anchor) => {
                (anchors.get(&anchor).cloned().unwrap_or(Rc::new(Node::Null)), 0)
            }
            Event::DocumentEnd => break,
            _ => continue,
        };
        if anchor != 0 {
            anchors.insert(anchor, Rc::clone(&node));
        }
        match open.last_mut() {
            None => return Ok(Rc::unwrap_or_clone(node)),
            Some((Open::List(items), _)) => items.push(node),
            Some((Open::Map(entries, key), _)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(key_text(&node)),
            },
        }
    }
    Ok(Node::Null)
}

/// What a scalar without quotes and tag is; in YAML 1.1, as PyYAML has it.
fn resolve(text: &str) -> Node {
    const TRUTHS: [&str; 6] = ["yes", "no", "true", "false", "on", "off"];
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Node::Null;
    }
    let lower = text.to_ascii_lowercase();
    // All in one case, or with a capital.
    if TRUTHS.contains(&lower.as_str())
        && (text == lower || text == text.to_ascii_uppercase() || text[1..] == lower[1..])
    {
        return Node::Bool(text.to_owned());
    }
    Node::Text(text.to_owned())
}

fn key_text(node: &Node) -> String {
    match node {
        Node::Text(text) | Node::Bool(text) => text.clone(),
        Node::Null | Node::List(_) | Node::Map(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(yaml: &str) -> Node {
        parse(&format!("---\n{yaml}\n---\n")).unwrap().unwrap()
    }

    fn refused(yaml: &str) -> String {
        parse(&format!("---\n{yaml}\n---\n")).unwrap_err()
    }

    #[test]
    fn scalars_are_what_pyyaml_makes_of_them() {
        let map = tree(
            "a: no\nb: \"no\"\nc: nO\nd: ~\ne:\nf: 1.10\ng: !!str off\nh: OFF\ni: >-\n  x\n  y",
        );
        let text = |t: &str| Node::Text(t.to_owned());
        let truth = |t: &str| Node::Bool(t.to_owned());
        let expected = [
            ("a", truth("no")),
            ("b", text("no")),
            ("c", text("nO")),
            ("d", Node::Null),
            ("e", Node::Null),
            ("f", text("1.10")),
            ("g", text("off")),
            ("h", truth("OFF")),
            ("i", text("x y")),
        ];
        for (key, node) in expected {
            assert_eq!(map.get(key), Some(&node), "{key}");
        }
    }

    #[test]
    fn of_two_values_the_last_counts_and_aliases_stand_for_theirs() {
        let map = tree("x: &a [1, {k: v}]\nx: 2\ny: *a\nz: &b [*b]");
        assert_eq!(map.get("x"), Some(&Node::Text("2".into())));
        let Some(Node::List(items)) = map.get("y") else { panic!("{map:?}") };
        assert_eq!(items[1].get("k"), Some(&Node::Text("v".into())));
        assert_eq!(map.get("z"), Some(&Node::List(vec![Rc::new(Node::Null)])));
    }

    #[test]
    fn without_front_matter_there_is_nothing() {
        for card in
            ["", "# x\n---\na: b\n---\n", "---", "---\n---\n", "--- \na: b\n", "\u{feff}---\na: b"]
        {
            assert_eq!(parse(card).unwrap(), None, "{card:?}");
        }
        // One that is not closed goes on to the end, and carriage returns are no part of it.
        let open = parse("---\r\na: b\r\nc: |\r\n  d\r\n").unwrap().unwrap();
        assert_eq!(open.get("c"), Some(&Node::Text("d\n".into())));
    }

    #[test]
    fn what_is_no_map_of_yaml_is_refused_with_its_place() {
        assert!(refused("a: [b\nc").contains("its front matter is not YAML"));
        assert!(refused("a: b: c").contains("line"));
        assert!(refused("- a").contains("no list of keys and values"));
        assert!(refused("a: *nobody").contains("not YAML"));
    }

    #[test]
    fn bombs_take_neither_time_nor_memory() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..40 {
            let aliases = vec![format!("*a{}", i - 1); 9].join(", ");
            bomb.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
        }
        assert!(tree(&bomb).get("a39").is_some());
        for deep in ["[", "- ", "? ", "{", "a: [", "- - ? "] {
            let message = refused(&deep.repeat(100_000));
            assert!(message.contains("nested deeper") || message.contains("YAML"), "{message}");
        }
        let deep: String = (0..100).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        assert!(refused(&deep).contains("line 66 is nested deeper than 64 levels"));
        assert!(refused(&"a: b\n".repeat(300_000)).contains("bytes; read are 1048576"));
    }
}
